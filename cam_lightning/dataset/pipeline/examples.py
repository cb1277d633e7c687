"""Examples of one split, ready to be batched: pixels at the input size, ground truth in the original's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cam_lightning.contracts import CLASS_NOT_KNOWN, Batch, GroundTruth
from cam_lightning.dataset.pipeline.sampler import Key
from cam_lightning.dataset.pipeline.split import ImageSplit
from cam_lightning.dataset.pipeline.transform import Augmentation, View, resized_mask, resized_view, target_of_view


class Example(NamedTuple):
    """One image of a batch."""

    image_3HW: Tensor
    label: int
    boxes_N4: np.ndarray
    size: tuple[int, int]
    image: int
    """Its position in the split."""
    mask_HW: Tensor | None = None
    """At the input size: the dataset's in evaluation; in training, that of the view, where a method asks for it."""
    classes_C: np.ndarray | None = None
    """As a row of `GroundTruth.classes_BC`."""
    epoch: int | None = None
    """The epoch that it was asked for, where it has no pixels, boxes and size."""


class BadImage(NamedTuple):
    """Stands where an image cannot be read."""

    image: int
    """Its position in the split."""


ON_BAD_IMAGE = ("error", "skip", "replace")


class Examples(Dataset[Example]):
    """A split seen through a transform; an `ImageSource` for the sinks of evaluation.

    The augmentation of an image is drawn from a generator seeded by (seed, epoch, index), so it is the same
    in any worker, on any rank, and after resuming. `size` is (height, width), or one from an epoch on.

    `on_bad_image` says what becomes of an image that cannot be read: `error` raises; `skip` leaves it out of its
    batch; `replace` gives its place to the next image of the split that can be read, so that batches keep their
    size. Both of these put its position into `Batch.skipped_S`.
    """

    def __init__(
        self,
        split: ImageSplit,
        size: tuple[int, int] | Mapping[int, tuple[int, int]],
        augmentation: Augmentation | None = None,
        seed: int = 0,
        on_bad_image: str = "error",
        class_names: Sequence[str] = (),
    ) -> None:
        if on_bad_image not in ON_BAD_IMAGE:
            raise ValueError(f"on_bad_image is one of {', '.join(ON_BAD_IMAGE)}; got {on_bad_image!r}")
        self.split = split
        self.ids = split.ids
        self.class_names = class_names
        self.sizes = size if isinstance(size, Mapping) else {0: size}
        self.augmentation = augmentation
        self.seed = seed
        self.on_bad_image = on_bad_image
        self.has_targets = False
        """Whether every image comes with a mask of its view, which a method learns from: its own, or of its boxes."""
        self.has_pixels = True
        """Whether images are read; where not, an example says only which image it is, of which class and epoch."""

    def __len__(self) -> int:
        return len(self.split)

    @property
    def num_with_boxes(self) -> int | None:
        """How many images have a box; None where only reading them would tell."""
        return self.split.num_with_boxes

    def original(self, index: int) -> np.ndarray:
        """uint8 RGB (H, W, 3), frame `original`."""
        return self.split.read(index).image_HW3

    def __getitem__(self, key: Key) -> Example:
        epoch, index = key
        if not self.has_pixels:
            nothing = (
                torch.empty(3, 0, 0, dtype=torch.uint8),
                int(self.split.label_N[index]),
                np.zeros((0, 4), np.float32),
            )
            return Example(*nothing, (0, 0), index, epoch=epoch)
        image_HW3, boxes_N4, mask_HW = self.split.read(index)
        height, width = image_HW3.shape[:2]
        size = self.sizes[max(first for first in self.sizes if first <= epoch)]
        view = self.view(key, height, width)
        label = int(self.split.label_N[index])
        mask = None
        if self.has_targets:
            mask = target_of_view(mask_HW, boxes_N4, (height, width), view, size)
        elif mask_HW is not None and self.augmentation is None:
            mask = resized_mask(mask_HW, size)
        classes = None if self.split.target_NC is None else shown_classes(self.split.target_NC[index])
        return Example(resized_view(image_HW3, view, size), label, boxes_N4, (height, width), index, mask, classes)

    def view(self, key: Key, height: int, width: int) -> View | None:
        """What is shown of an image of that size in an epoch; None: the whole of it."""
        if self.augmentation is None:
            return None
        epoch, index = key
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, 0, index]))
        return self.augmentation(height, width, random)

    def __getitems__(self, keys: list[Key]) -> list[Example | BadImage]:
        """One batch: what the data loader asks for where a dataset can give several images at once."""
        return [entry for key in keys for entry in self._entries(Key(*key))]

    def complaint(self, index: int) -> str:
        """Why an image cannot be read, naming its file."""
        try:
            self.split.read(index)
        except OSError as error:
            return str(error)
        return f"{self.ids[index]} could not be read, and can be now"

    def _entries(self, key: Key) -> Iterator[Example | BadImage]:
        for step in range(len(self)):
            image = (key.image + step) % len(self)
            try:
                example = self[Key(key.epoch, image)]
            except OSError:
                if self.on_bad_image == "error":
                    raise
                yield BadImage(image)
                if self.on_bad_image == "skip":
                    return
            else:
                yield example
                return
        raise OSError(f"none of {len(self):,} images can be read; the first: {self.complaint(0)}")


def shown_classes(target_C: np.ndarray) -> np.ndarray:
    """uint8, as in `GroundTruth.classes_BC`, of a row of `ImageSplit.target_NC`."""
    return np.where(np.isnan(target_C), CLASS_NOT_KNOWN, target_C).astype(np.uint8)


def collate(entries: Sequence[Example | BadImage]) -> Batch:
    """Stacks examples; boxes are padded with zero rows to the largest number in the batch."""
    examples = [entry for entry in entries if isinstance(entry, Example)]
    skipped = [entry.image for entry in entries if isinstance(entry, BadImage)]
    num_boxes = [len(example.boxes_N4) for example in examples]
    boxes_BN4 = torch.zeros(len(examples), max(num_boxes, default=0), 4)
    for row, example in enumerate(examples):
        boxes_BN4[row, : num_boxes[row]] = torch.from_numpy(example.boxes_N4)
    classes = [torch.from_numpy(example.classes_C) for example in examples if example.classes_C is not None]
    epochs = [example.epoch for example in examples if example.epoch is not None]
    masks = [example.mask_HW for example in examples if example.mask_HW is not None]
    return Batch(
        image_B3HW=(
            torch.stack([example.image_3HW for example in examples])
            if examples
            else torch.empty(0, 3, 1, 1, dtype=torch.uint8)
        ),
        truth=GroundTruth(
            label_B=torch.tensor([example.label for example in examples], dtype=torch.int64),
            boxes_BN4=boxes_BN4,
            num_boxes_B=torch.tensor(num_boxes, dtype=torch.int64),
            size_B2=torch.tensor([example.size for example in examples], dtype=torch.int64).reshape(-1, 2),
            # A dataset has masks, and several classes, of all its images or of none.
            mask_BHW=torch.stack(masks) if masks else None,
            classes_BC=torch.stack(classes) if classes else None,
        ),
        index_B=torch.tensor([example.image for example in examples], dtype=torch.int64),
        skipped_S=torch.tensor(skipped) if skipped else None,
        epoch_B=torch.tensor(epochs) if epochs else None,
    )
