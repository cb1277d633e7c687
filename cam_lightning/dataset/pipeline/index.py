"""What is known of every image of a split, as arrays: a million images cost megabytes, and nothing per worker."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cam_lightning.dataset.pipeline.image_file import decode, read_header
from cam_lightning.dataset.pipeline.resized import Resizing, find_resizing
from cam_lightning.dataset.pipeline.split import Annotation, ImageSplit, RawImage
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.dataset.pipeline.strings import PackedStrings

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """One image, as a reader hands it to its index."""

    path: str
    """Below the split's root, with `/`."""
    label: int
    boxes_N4: np.ndarray | None = None
    """float32, xyxy half-open, frame `original`."""
    size: tuple[int, int] | None = None
    """Height and width that the annotation gives."""


class Index(NamedTuple):
    """The images of one split, in its order."""

    ids: PackedStrings
    label_N: np.ndarray
    """int64."""
    size_N2: np.ndarray
    """int32: height and width by the annotations; zeros where they say nothing."""
    first_box_N1: np.ndarray
    """int64: image i has the boxes `first_box_N1[i] : first_box_N1[i + 1]`."""
    boxes_M4: np.ndarray
    """float32, xyxy half-open, frame `original`."""

    @classmethod
    def pack(cls, rows: Iterable[Row]) -> Index:
        """Takes one row after the other, so that no list of them is ever made."""
        label, size, first_box, boxes = array("q"), array("i"), array("q", [0]), array("f")

        def paths() -> Iterable[str]:
            for row in rows:
                label.append(row.label)
                size.extend(row.size or (0, 0))
                if row.boxes_N4 is not None:
                    boxes.extend(row.boxes_N4.ravel().tolist())
                first_box.append(len(boxes) // 4)
                yield row.path

        return cls(
            PackedStrings.pack(paths()),
            np.array(label, np.int64),
            np.array(size, np.int32).reshape(-1, 2),
            np.array(first_box, np.int64),
            np.array(boxes, np.float32).reshape(-1, 4),
        )

    def boxes(self, image: int) -> np.ndarray:
        """float32 (N, 4): the boxes of one image."""
        first, end = self.first_box_N1[image : image + 2].tolist()
        return self.boxes_M4[first:end].copy()


class IndexedSplit(ImageSplit):
    """The images of an index, read from a folder or an archive.

    `resized` says that they are resized copies: boxes are scaled from the photos' annotated sizes to their own.
    Raises ValueError where that cannot be.
    """

    def __init__(self, storage: Storage, index: Index, resized: bool = False) -> None:
        self.storage = storage
        self.index = index
        self.ids = index.ids
        self.label_N = index.label_N
        self.resizing: Resizing | None = find_resizing(self) if resized else None

    def read(self, index: int) -> RawImage:
        name, data = self.encoded(index)
        image_HW3 = decode(data, name)
        boxes_N4 = self.index.boxes(index)
        if self.resizing is not None and len(boxes_N4):
            height, width = image_HW3.shape[:2]
            boxes_N4 = self.resizing.boxes(boxes_N4, (height, width), self._original(index), name)
        return RawImage(image_HW3, boxes_N4)

    def encoded(self, index: int) -> tuple[str, bytes]:
        return self.place(index), self.storage.read(self.index.ids[index])

    def annotation(self, index: int) -> Annotation:
        """Of a resized copy: its own size and boxes on it, or those of the original where it is no resize of that."""
        boxes_N4, original = self.index.boxes(index), self._original(index)
        if self.resizing is not None and original != (0, 0):
            name, data = self.encoded(index)
            size = read_header(data, name).shown_size(upright=False)
            if self.resizing.fits(size, original):
                return Annotation(self.resizing.boxes(boxes_N4, size, original, name), size)
        return Annotation(boxes_N4, original if original != (0, 0) else None)

    def place(self, index: int) -> str:
        """Where the image's file is, for messages."""
        return self.storage.describe(self.index.ids[index])

    @property
    def size_N2(self) -> np.ndarray:
        """As `Index.size_N2`."""
        return self.index.size_N2

    def _original(self, index: int) -> tuple[int, int]:
        height, width = self.index.size_N2[index].tolist()
        return height, width

    @property
    def num_boxes_N(self) -> np.ndarray:
        return np.diff(self.index.first_box_N1)


OVERHANG = 3
"""Pixels that a box may end outside its photo before that is taken for another one: CUB's own do by one at most."""


def require_annotated_sizes(split: IndexedSplit, sample: int = 512) -> None:
    """Raises ValueError where photos are not of the size that their annotations give, or too small for their boxes.

    Boxes of the original photos on resized ones would be wrong in silence. The headers of some are looked at, taken
    evenly, since copies may be of the large photos alone; of so many, one in a hundred may be the annotations' fault,
    and is told in the log. A split that scales its boxes has looked itself.
    """
    if split.resizing is not None:
        return
    known = np.flatnonzero((split.index.size_N2[:, 0] > 0) | (split.num_boxes_N > 0))
    wrong = []
    chosen = known[np.linspace(0, len(known) - 1, min(sample, len(known))).astype(int)]
    for image in chosen.tolist():
        try:
            name, data = split.encoded(image)
            fault = _misfit(split, image, read_header(data, name).shown_size(upright=False))
        except OSError:
            # What is to become of it is `on_bad_image`'s to say, where the image is met.
            continue
        if fault:
            wrong.append(f"{split.ids[image]} is {fault}")
    if not wrong:
        return
    count = f"{len(wrong)} of {len(chosen)} images looked at"
    what = f"{split.storage.root}: {count} have another size than their annotations give: {wrong[0]}"
    if len(wrong) <= len(chosen) // 100:
        log.warning("%s", what)
        return
    raise ValueError(
        f"{what}. Boxes in pixels of other images would be wrong; where these are copies, resized whole, "
        "dataset.resized=true scales the boxes"
    )


def _misfit(split: IndexedSplit, image: int, size: tuple[int, int]) -> str:
    """How an image of this height and width differs from what is written down of it; empty where it does not."""
    annotated = tuple(split.index.size_N2[image].tolist())
    if annotated != (0, 0):
        return "" if size == annotated else f"{size[1]}×{size[0]}, its annotation says {annotated[1]}×{annotated[0]}"
    x1, y1 = split.index.boxes(image)[:, 2:].max(axis=0).tolist()
    fits = x1 <= size[1] + OVERHANG and y1 <= size[0] + OVERHANG
    return "" if fits else f"{size[1]}×{size[0]}, and its boxes end at {x1:g}, {y1:g}"
