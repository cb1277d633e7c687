"""What two-class data of a concept share: images that have it, and images that do not, of which some are drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cam_lightning.dataset.pipeline.image_file import is_image
from cam_lightning.dataset.pipeline.split import Annotation, ImageSplit, RawImage, Subset, draw_per_class
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.dataset.pipeline.strings import PackedStrings
from cam_lightning.dataset.pipeline.walk import walk

ABSENT, PRESENT = 0, 1
"""The labels."""


def with_drawn_negatives(split: ImageSplit, per_positive: float, seed: int) -> Subset:
    """All images that have the concept, and `per_positive` others for each of them; the split's order is kept.

    The others are drawn by the hash of (seed, id); where there are too few, all of them are taken.
    """
    positive_N, negative_N = (np.flatnonzero(split.label_N == label) for label in (PRESENT, ABSENT))
    count = max(1, round(per_positive * len(positive_N)))
    (drawn,) = draw_per_class(Subset(split, negative_N), [count], seed)
    return Subset(split, np.sort(np.concatenate([positive_N, negative_N[drawn.indices]])))


class JoinedSplit(ImageSplit):
    """The images of several splits, one split after the other; those of the first keep their positions."""

    def __init__(self, *splits: ImageSplit) -> None:
        self.splits = splits
        self.ids = PackedStrings.pack(identity for split in splits for identity in split.ids)
        self.label_N = np.concatenate([split.label_N for split in splits])
        self.first_S = np.cumsum([0, *map(len, splits)])

    def read(self, index: int) -> RawImage:
        split, place = self._place(index)
        return split.read(place)

    def encoded(self, index: int) -> tuple[str, bytes] | None:
        split, place = self._place(index)
        return split.encoded(place)

    def annotation(self, index: int) -> Annotation:
        split, place = self._place(index)
        return split.annotation(place)

    @property
    def num_boxes_N(self) -> np.ndarray | None:
        counts = [split.num_boxes_N for split in self.splits]
        known = [count for count in counts if count is not None]
        return np.concatenate(known) if len(known) == len(counts) else None

    def _place(self, index: int) -> tuple[ImageSplit, int]:
        number = int(np.searchsorted(self.first_S, index, "right")) - 1
        return self.splits[number], index - int(self.first_S[number])


def images_below(storage: Storage, folder: str = "") -> list[str]:
    """The paths of all images below a folder, in a folder or an archive, sorted by folder; links are followed."""
    if storage.is_zip:
        return list(_in_archive(storage, folder))
    return [
        f"{below}/{name}" if below else name
        for below, _, files in walk(storage.root, folder)
        for name in files
        if is_image(name)
    ]


def _in_archive(storage: Storage, folder: str) -> Iterator[str]:
    for name in storage.names(folder):
        path = f"{folder}/{name}" if folder else name
        inside = storage.names(path)
        if not inside and is_image(name):
            yield path
        elif inside:
            yield from _in_archive(storage, path)
