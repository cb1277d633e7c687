"""The images of one split of a folder: read, turned where that is asked for, and compared with what annotations say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cam_lightning.dataset.format.folder_annotations import box_faults
from cam_lightning.dataset.format.folder_tree import printable
from cam_lightning.dataset.pipeline.image_file import decode, read_header
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row
from cam_lightning.dataset.pipeline.split import Annotation, RawImage
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.dataset.pipeline.strings import PackedStrings

EXIF = ("auto", "stored", "upright")
"""`dataset.exif`: pixels as they are stored, or turned as the EXIF orientation says; `auto`: stored, with a warning."""
LOOKED_AT = 100
"""Photos whose headers are read to find turned ones before training."""


class LabelledImage(NamedTuple):
    """One image with its class."""

    path: str
    name: str
    boxes_N4: np.ndarray
    size: tuple[int, int] | None
    fault: str


class FolderSplit(IndexedSplit):
    """Images of one split, by their paths below a folder."""

    def __init__(
        self,
        root: Path,
        images: list[LabelledImage],
        label_of: dict[str, int],
        unit: str = "pixels",
        exif: str = "auto",
    ) -> None:
        rows = (Row(image.path, label_of[image.name], image.boxes_N4, image.size) for image in images)
        super().__init__(Storage(root), Index.pack(rows))
        # Names that are not UTF-8 could not be written into results.
        self.ids = PackedStrings.pack(map(printable, self.index.ids))
        self.faults = {index: image.fault for index, image in enumerate(images) if image.fault}
        self.unit = unit
        self.exif = exif

    def read(self, index: int) -> RawImage:
        name, data = self.encoded(index)
        image_HW3 = decode(data, name, upright=self.exif == "upright")
        height, width = image_HW3.shape[:2]
        boxes_N4 = self._in_pixels(index, (height, width))
        annotated, identity = super().annotation(index).size, self.ids[index]
        if annotated not in (None, (height, width)):
            assert annotated is not None
            raise OSError(f"{identity} is {width}×{height}, its annotation says {annotated[1]}×{annotated[0]}")
        if faults := box_faults(boxes_N4, (height, width)):
            raise OSError(f"{identity}: {faults[0]}")
        return RawImage(image_HW3, boxes_N4)

    def encoded(self, index: int) -> tuple[str, bytes]:
        if index in self.faults:
            raise OSError(self.faults[index])
        path = self.index.ids[index]
        return printable(self.storage.describe(path)), self.storage.read(path)

    def annotation(self, index: int) -> Annotation:
        boxes_N4, size = super().annotation(index)
        if self.unit != "fraction" or not len(boxes_N4):
            return Annotation(boxes_N4, size)
        name, data = self.encoded(index)
        return Annotation(self._in_pixels(index, read_header(data, name).shown_size(self.exif == "upright")), size)

    def _in_pixels(self, index: int, size: tuple[int, int]) -> np.ndarray:
        boxes_N4 = self.index.boxes(index)
        if self.unit == "fraction":
            # Rounded shares may end a hair outside.
            boxes_N4 = boxes_N4.clip(0, 1) * np.array([size[1], size[0]] * 2, np.float32)
        return boxes_N4


def turned_photos(splits: Iterable[FolderSplit]) -> list[str]:
    """Ids of photos with boxes that EXIF turns, of at most `LOOKED_AT` in each split, taken evenly.

    Those are left out of which the annotation gives the size, for that says which way it sees them.
    """
    turned = []
    for split in splits:
        with_boxes = np.flatnonzero((split.num_boxes_N > 0) & (split.index.size_N2[:, 0] == 0))
        chosen = with_boxes[np.linspace(0, len(with_boxes) - 1, min(LOOKED_AT, len(with_boxes))).astype(int)]
        for index in chosen.tolist():
            try:
                name, data = split.encoded(index)
                header = read_header(data, name)
            except OSError:
                # What is to become of it is `on_bad_image`'s to say, where the image is met.
                continue
            if "EXIF-rotated" in header.traits:
                turned.append(split.ids[index])
    return turned
