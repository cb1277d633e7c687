"""Which classes of a dataset are wanted, and whether a split has an image of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from cam_lightning.dataset.imagenet import named_classes
from cam_lightning.dataset.pipeline.split import ImageSplit, images_per_class


def chosen_classes(classes: Any, names: list[str]) -> list[int]:
    """Where the wanted classes are in the dataset's own order: the first so many, or those named; or ValueError."""
    if isinstance(classes, int) and not isinstance(classes, bool):
        if not 1 <= classes <= len(names):
            raise ValueError(f"dataset.classes={classes}, but the dataset has {len(names)} classes")
        return list(range(classes))
    classes = classes if isinstance(classes, list | tuple) else [classes]
    if not classes:
        raise ValueError("dataset.classes=[] leaves no class; leave it out for all of them")
    classes = named_classes(classes, names)
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(
            f"dataset.classes names {', '.join(map(repr, unknown))}, not a class of the dataset. "
            f"Its {len(names)} classes: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}"
        )
    return sorted({names.index(name) for name in classes})


def require_every_class(split: ImageSplit, split_name: str, names: list[str]) -> None:
    """Raises ValueError, with their names, where classes have no image in a split."""
    empty = [names[i] for i in np.flatnonzero(images_per_class(split, len(names)) == 0)]
    if empty:
        raise ValueError(
            f"the {split_name} split has no image of {len(empty)} of {len(names)} classes: "
            f"{', '.join(empty[:10])}. Add images, or choose classes with dataset.classes."
        )
