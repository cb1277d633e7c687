"""Trees of labelled photos as archives have them: each photo says by its height which one it is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from cam_lightning.dataset.pipeline.split import ImageSplit
from cam_lightning.dataset.pipeline.transform import height_and_width


def draw(path: Path, height: int, width: int = 40, mode: str = "RGB") -> None:
    """A photo that is `height` high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), height % 256, np.uint8)).convert(mode).save(path)


def draw_all(root: Path, paths: Iterable[str], mode: str = "RGB") -> dict[str, int]:
    """Photos of different heights; path → height."""
    height_of = {path: 20 + number for number, path in enumerate(paths)}
    for path, height in height_of.items():
        draw(root / path, height, mode=mode)
    return height_of


def heights(split: ImageSplit) -> list[int]:
    """The height of every image of a split, as it is read."""
    return [height_and_width(list(split.read(index).image_HW3.shape[:2]))[0] for index in range(len(split))]


def labelled(split: ImageSplit, names: list[str]) -> dict[str, str]:
    """Path → class."""
    return {path: names[label] for path, label in zip(split.ids, split.label_N.tolist(), strict=True)}


def cells(texts: list[str]) -> np.ndarray:
    """A column of texts, as Matlab's cell arrays are written."""
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column
