"""Images cut out of images: one box each, from ground truth or from what an earlier run found; or their middle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage
from cam_lightning.run.prediction_table import read_predictions


class CroppedSplit(ImageSplit):
    """A split of which every image shows one box alone; frame `original` is then the box's.

    Boxes are rounded outward to whole pixels and end at the image's edge. Ground-truth boxes move along, and are
    cut off at the crop's edges; those outside of it are dropped.
    """

    def __init__(self, split: ImageSplit, crop_N4: np.ndarray) -> None:
        self.split = split
        self.ids = split.ids
        self.label_N = split.label_N
        self.target_NC = split.target_NC
        self.image_N = split.image_N
        self.crop_N4 = crop_N4

    def content(self, index: int) -> bytes:
        return self.crop_N4[index].tobytes() + self.split.content(index)

    def read(self, index: int) -> RawImage:
        image = self.split.read(index)
        height, width = image.image_HW3.shape[:2]
        x0, y0 = np.floor(self.crop_N4[index, :2]).clip(0).astype(int).tolist()
        x1, y1 = np.ceil(self.crop_N4[index, 2:]).clip(max=[width, height]).astype(int).tolist()
        if x0 >= x1 or y0 >= y1:
            raise OSError(f"{self.ids[index]} is {width}×{height}: its crop {self.crop_N4[index].tolist()} is outside")
        return _cut(image, (x0, y0, x1, y1), self.ids[index])


class CentredSplit(ImageSplit):
    """A split of which every image shows its middle alone; frame `original` is then that part.

    `share` is that of each side: 224/256 is what Caffe's networks see of a photo that is squashed to 256×256.
    """

    def __init__(self, split: ImageSplit, share: float) -> None:
        self.split = split
        self.ids = split.ids
        self.label_N = split.label_N
        self.target_NC = split.target_NC
        self.image_N = split.image_N
        self.exif = split.exif
        self.share = share

    def content(self, index: int) -> bytes:
        return f"middle {self.share!r} ".encode() + self.split.content(index)

    def read(self, index: int) -> RawImage:
        image = self.split.read(index)
        height, width = image.image_HW3.shape[:2]
        # Outward to whole pixels, so that the smallest image keeps one.
        left, top = (math.floor(side * (1 - self.share) / 2) for side in (width, height))
        return _cut(image, (left, top, width - left, height - top), self.ids[index])


def _cut(image: RawImage, corners: tuple[int, int, int, int], identity: str) -> RawImage:
    """What lies within corners x0, y0, x1, y1; raises OSError for a mask that is not of the image's size."""
    image_HW3, boxes_N4, mask_HW = image
    x0, y0, x1, y1 = corners
    height, width = image_HW3.shape[:2]
    if mask_HW is not None and mask_HW.shape != (height, width):
        raise OSError(f"{identity} is {width}×{height}, but its mask {mask_HW.shape[1]}×{mask_HW.shape[0]}")
    end_4 = np.array([x1 - x0, y1 - y0] * 2, np.float32)
    moved_N4 = (boxes_N4 - np.array([x0, y0, x0, y0], np.float32)).clip(0, end_4)
    inside_N = (moved_N4[:, 2:] > moved_N4[:, :2]).all(axis=1)
    mask = None if mask_HW is None else np.ascontiguousarray(mask_HW[y0:y1, x0:x1])
    return RawImage(np.ascontiguousarray(image_HW3[y0:y1, x0:x1]), moved_N4[inside_N], mask)


def read_crops(paths: Sequence[Path]) -> dict[str, list[float]]:
    """Image id → the first box of each row of `predictions.csv` files, frame `original`.

    A run writes them with `callback.localization`'s predictions; the box is that of its best guess. Raises
    ValueError, with file and row, where a row holds no box, or an id comes twice.
    """
    crops: dict[str, list[float]] = {}
    for path in paths:
        for number, row in enumerate(read_predictions(path, ("id", "boxes")), start=1):
            place = f"{path}, row {number}"
            try:
                box = [float(value) for value in row.boxes[0]]
            except (ValueError, TypeError, IndexError) as error:
                raise ValueError(f"{place}: `boxes` is not a list of boxes: {row.boxes!r}") from error
            if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
                raise ValueError(f"{place}: {box} is not a box")
            if row.id in crops:
                raise ValueError(f"{place}: {row.id!r} is there twice")
            crops[row.id] = box
    return crops


def crops_of(split: ImageSplit, crops: Mapping[str, list[float]], where: str) -> np.ndarray:
    """float32 (N, 4): the crop of every image of a split; raises ValueError where one has none."""
    missing = [name for name in split.ids if name not in crops]
    if missing:
        raise ValueError(f"{where} has no box of {missing[0]!r} ({len(missing):,} of {len(split):,} images)")
    return np.array([crops[name] for name in split.ids], np.float32).reshape(-1, 4)
