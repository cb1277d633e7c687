"""One split of a dataset: ids, labels, how to read one image; and the subsets that experiments train on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class RawImage(NamedTuple):
    """One image as its file has it."""

    image_HW3: np.ndarray
    """uint8 RGB."""
    boxes_N4: np.ndarray
    """float32 ground-truth boxes, xyxy half-open, frame `original`; no row where none is known."""
    mask_HW: np.ndarray | None = None
    """uint8: 1 object, 0 background, 255 ignored; None where the dataset has no masks."""


class ImageSplit(ABC):
    """Images by position. A dataset's own file holds only how its ids, labels, boxes and pixels are read."""

    ids: Sequence[str]
    label_N: np.ndarray
    """int64, one per image."""

    @abstractmethod
    def read(self, index: int) -> RawImage:
        """Reads one image; raises OSError, naming the file, when it cannot be read."""

    def __len__(self) -> int:
        return len(self.label_N)


class Subset(ImageSplit):
    """Some images of a split, in the order of `indices`, with its own labels where classes were left out."""

    def __init__(self, split: ImageSplit, indices: np.ndarray, label_N: np.ndarray | None = None) -> None:
        self.split = split
        self.indices = np.asarray(indices, dtype=np.int64)
        self.ids = [split.ids[i] for i in self.indices]
        self.label_N = split.label_N[self.indices] if label_N is None else label_N

    def read(self, index: int) -> RawImage:
        return self.split.read(int(self.indices[index]))


def keep_classes(split: ImageSplit, classes: Sequence[int]) -> Subset:
    """The images of some classes, labelled 0, 1, … in the order of `classes`."""
    new_label_of = {old: new for new, old in enumerate(classes)}
    indices = np.flatnonzero(np.isin(split.label_N, list(classes)))
    return Subset(split, indices, np.array([new_label_of[int(split.label_N[i])] for i in indices], dtype=np.int64))


def first_per_class(split: ImageSplit, count: int) -> Subset:
    """The first `count` images of every class, in the split's order."""
    seen: dict[int, int] = {}
    indices = []
    for index, label in enumerate(split.label_N.tolist()):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= count:
            indices.append(index)
    return Subset(split, np.array(indices, dtype=np.int64))


def hold_out(split: ImageSplit, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Splits into (kept, held out): a seeded share of every class, at least one image where a class has two.

    Every class keeps an image for training. The choice depends on the seed and the split alone.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"dataset.val_fraction lies between 0 and 1; got {fraction}")
    held = np.zeros(len(split), dtype=bool)
    random = np.random.Generator(np.random.Philox(seed))
    for label in np.unique(split.label_N):
        members = np.flatnonzero(split.label_N == label)
        if len(members) > 1:
            count = min(max(1, round(fraction * len(members))), len(members) - 1)
            held[random.permutation(members)[:count]] = True
    return Subset(split, np.flatnonzero(~held)), Subset(split, np.flatnonzero(held))
