"""One split of a dataset: ids, labels, how to read one image; and the subsets that experiments train on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cam_lightning.dataset.pipeline.strings import SelectedStrings


class RawImage(NamedTuple):
    """One image as its file has it."""

    image_HW3: np.ndarray
    """uint8 RGB."""
    boxes_N4: np.ndarray
    """float32 ground-truth boxes, xyxy half-open, frame `original`; no row where none is known."""
    mask_HW: np.ndarray | None = None
    """uint8: 1 object, 0 background, 255 ignored; None where the dataset has no masks. Of the whole image, and not
    always of its size: those of OpenImages are smaller or larger."""


class Annotation(NamedTuple):
    """What is written down of one image, known without decoding it."""

    boxes_N4: np.ndarray
    """As in `RawImage`."""
    size: tuple[int, int] | None = None
    """The height and width that the annotation gives; None where it gives none."""


class Finding(NamedTuple):
    """Something that is to be known of a dataset."""

    kind: str
    """What sort of thing, in a few words."""
    what: str
    """One line that names the file or the class."""
    is_wrong: bool
    """True where training or evaluation would be wrong; False for a remark."""


class ImageSplit(ABC):
    """Images by position. A dataset's own file holds only how its ids, labels, boxes and pixels are read."""

    ids: Sequence[str]
    label_N: np.ndarray
    """int64, one per image."""

    @abstractmethod
    def read(self, index: int) -> RawImage:
        """Reads one image; raises OSError, naming the file, when it cannot be read."""

    def encoded(self, index: int) -> tuple[str, bytes] | None:
        """Where the image's file is, and its bytes; None where images are made, not read. Raises as `read`."""
        return None

    def annotation(self, index: int) -> Annotation:
        """The image's boxes; a split that knows them without decoding overrides this."""
        return Annotation(self.read(index).boxes_N4)

    def __len__(self) -> int:
        return len(self.label_N)


class Subset(ImageSplit):
    """Some images of a split, in the order of `indices`, with its own labels where classes were left out."""

    def __init__(self, split: ImageSplit, indices: np.ndarray, label_N: np.ndarray | None = None) -> None:
        self.split = split
        self.indices = np.asarray(indices, dtype=np.int64)
        self.ids = SelectedStrings(split.ids, self.indices)
        self.label_N = split.label_N[self.indices] if label_N is None else label_N

    def read(self, index: int) -> RawImage:
        return self.split.read(int(self.indices[index]))

    def encoded(self, index: int) -> tuple[str, bytes] | None:
        return self.split.encoded(int(self.indices[index]))

    def annotation(self, index: int) -> Annotation:
        return self.split.annotation(int(self.indices[index]))


class Splits(NamedTuple):
    """What a dataset's reader finds."""

    names: list[str]
    """The names of all classes: label i is `names[i]`."""
    train: ImageSplit | None
    """`train-weaksup`: labels are all that is needed of it. None where only evaluation's images are there."""
    test: ImageSplit
    fullsup: ImageSplit | None = None
    """`train-fullsup`: images with boxes or masks on which thresholds are chosen; None where there is no such split."""

    def parts(self) -> dict[str, ImageSplit]:
        """Those that there are, by the names that results have for them."""
        named = (("train", self.train), ("val", self.fullsup), ("test", self.test))
        return {name: split for name, split in named if split is not None}


def keep_classes(split: ImageSplit, classes: Sequence[int]) -> Subset:
    """The images of some classes, labelled 0, 1, … in the order of `classes`."""
    new_label = np.full(1 + max([*classes, split.label_N.max(initial=0)]), -1, dtype=np.int64)
    new_label[list(classes)] = np.arange(len(classes))
    label_N = new_label[split.label_N]
    indices = np.flatnonzero(label_N >= 0)
    return Subset(split, indices, label_N[indices])


def first_per_class(split: ImageSplit, count: int) -> Subset:
    """The first `count` images of every class, in the split's order."""
    first = [members[: max(count, 0)] for members in _members(split)]
    return Subset(split, np.sort(np.concatenate([*first, np.zeros(0, np.int64)])))


def hold_out(split: ImageSplit, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Splits into (kept, held out): a seeded share of every class, at least one image where a class has two.

    Every class keeps an image for training. The choice depends on the seed and the split alone.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"dataset.val_fraction lies between 0 and 1; got {fraction}")
    held = np.zeros(len(split), dtype=bool)
    random = np.random.Generator(np.random.Philox(seed))
    for members in _members(split):
        if len(members) > 1:
            count = min(max(1, round(fraction * len(members))), len(members) - 1)
            held[random.permutation(members)[:count]] = True
    return Subset(split, np.flatnonzero(~held)), Subset(split, np.flatnonzero(held))


def _members(split: ImageSplit) -> list[np.ndarray]:
    """The images of each class that has some, in the split's order, classes in theirs."""
    order = np.argsort(split.label_N, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(split.label_N[order])) + 1)
