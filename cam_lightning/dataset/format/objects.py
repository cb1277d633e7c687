"""Scenes of which every object is annotated: where each is, by name, and which categories have enough images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cam_lightning.dataset.format.labelled import Photo
from cam_lightning.dataset.pipeline.index import IndexedSplit
from cam_lightning.dataset.pipeline.split import ImageSplit, Subset


class ObjectSplit(IndexedSplit):
    """A split that also knows where the objects of its scenes are."""

    def objects(self, index: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
        """Name → bool (H, W), all objects of that name, on an image of this height and width.

        Raises OSError or ValueError, naming the file, where the annotation cannot be read or is of another image.
        """
        raise NotImplementedError


def objects_of(split: ImageSplit, index: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """`ObjectSplit.objects` of one image, also where `split` is some images of such a split.

    Raises ValueError for data that are not annotated so.
    """
    while isinstance(split, Subset):
        index = int(split.indices[index])
        split = split.split
    if not isinstance(split, ObjectSplit):
        raise ValueError(
            "these data do not say where each object is: dataset=ade20k and dataset=sun_objects do, without a crop"
        )
    return split.objects(index, size)


def most_common(parts: Sequence[Sequence[Photo]], count: int | None) -> list[str]:
    """The categories with the most images, of those that every part has some of; of equal ones the first by name."""
    counts = [Counter(photo.class_name for photo in photos) for photos in parts]
    names = sorted(set.intersection(*map(set, counts)), key=lambda name: (-sum(each[name] for each in counts), name))
    return sorted(names[:count])
