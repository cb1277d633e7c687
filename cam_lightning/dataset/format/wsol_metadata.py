"""The index files of the WSOL benchmark (Choe et al., CVPR 2020): one folder per split, read as they are.

A folder holds `image_ids.txt`, and of these what its dataset has: `class_labels.txt`, `image_sizes.txt`,
`localization.txt` (boxes, or masks) and `image_ids_proxy.txt`. Source: the project clovaai/wsolevaluation,
folder `metadata`; the formats are described in its `data_loaders.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cam_lightning.dataset.pipeline.strings import PackedStrings

SOURCE = "the folder `metadata` of the project clovaai/wsolevaluation (NAVER, CC BY 2.0)"

FILES = ("image_ids.txt", "class_labels.txt", "image_sizes.txt", "localization.txt", "image_ids_proxy.txt")


class WsolMetadata(NamedTuple):
    """One split, in the order of its `image_ids.txt`. Image i has the rows `first_row_N1[i] : first_row_N1[i + 1]`."""

    ids: PackedStrings
    """Paths of the images, with `/`."""
    label_N: np.ndarray
    """int64: the class, from 0."""
    size_N2: np.ndarray | None
    """int64: height and width; None where the file is empty."""
    first_row_N1: np.ndarray
    """int64: where each image's rows of the localization begin."""
    corners_M4: np.ndarray
    """`x0 y0 x1 y1` AS THE FILE HAS THEM: whether x1 is inside the box is for the dataset to say. int64, or float64
    where some are no whole numbers."""
    masks_M: PackedStrings
    """Paths of the instances' masks; empty where the localization is boxes, as `corners_M4` where it is masks."""
    ignored_N: PackedStrings
    """Per image the path of its mask of regions to ignore, "" for none; empty where there are no masks."""


def read_metadata(folder: Path, proxy: bool = False, labels: bool = True) -> WsolMetadata:
    """One split's folder; with `proxy` only the images of `image_ids_proxy.txt`, in its order.

    Without `labels` no file of labels is needed, and all labels are -1.

    Raises FileNotFoundError where the folder lacks ids or labels, ValueError with file and line where a row is
    not what it should be.
    """
    ids_file = folder / FILES[4 if proxy else 0]
    labels_file = folder / "class_labels.txt"
    for path in (ids_file, labels_file) if labels else (ids_file,):
        if not path.is_file():
            found = ", ".join(sorted(p.name for p in folder.iterdir())[:10]) if folder.is_dir() else "no such folder"
            raise FileNotFoundError(f"{path} does not exist (found: {found}). Fetch {SOURCE}")
    position: dict[str, int] = {}
    for place, name in _rows(ids_file):
        if name in position:
            raise ValueError(f"{place}: {name!r} is there twice")
        position[name] = len(position)
    known = _All(position, proxy)
    labels_N = np.full(len(position), -1, np.int64)
    if labels:
        for place, position_of_image, (label,) in known.rows(labels_file, 1):
            labels_N[position_of_image] = _integer(label, place)
        _require_each(labels_N >= 0, position, labels_file)
    return WsolMetadata(
        PackedStrings.pack(position),
        labels_N,
        _sizes(folder / "image_sizes.txt", known),
        *_localization(folder / "localization.txt", known),
    )


class _All:
    """The images of a split by id, and the rows of a file that are of them."""

    def __init__(self, position: dict[str, int], is_part: bool) -> None:
        self.position = position
        self.is_part = is_part

    def rows(self, path: Path, num_values: int) -> Iterator[tuple[str, int, list[str]]]:
        """Place, image and values of each row `id,value,…`; ids may hold commas."""
        for place, row in _rows(path):
            identity, *values = row.rsplit(",", num_values)
            if len(values) != num_values:
                raise ValueError(
                    f"{place}: expected an image and {num_values} values, separated by commas; got {row!r}"
                )
            identity = identity.rstrip()
            values = [value.strip() for value in values]
            if identity in self.position:
                yield place, self.position[identity], values
            elif not self.is_part:
                raise ValueError(f"{place}: {identity!r} is not in {FILES[0]}")


def _sizes(path: Path, known: _All) -> np.ndarray | None:
    if _first_row(path) is None:
        return None
    size_N2 = np.zeros((len(known.position), 2), np.int64)
    for place, image, (width, height) in known.rows(path, 2):
        size_N2[image] = _integer(height, place, least=1), _integer(width, place, least=1)
    _require_each(size_N2[:, 0] > 0, known.position, path)
    return size_N2


def _localization(path: Path, known: _All) -> tuple[np.ndarray, np.ndarray, PackedStrings, PackedStrings]:
    """`first_row_N1`, `corners_M4`, `masks_M` and `ignored_N` of `WsolMetadata`."""
    boxes: list[list[list[float]]] = [[] for _ in known.position]
    masks: list[list[str]] = [[] for _ in known.position]
    ignored = [""] * len(known.position)
    first = _first_row(path)
    if first is not None and not _is_number(first.rpartition(",")[2]):
        for place, image, (mask, ignore) in known.rows(path, 2):
            if ignore and ignored[image]:
                raise ValueError(f"{place}: a second mask of ignored regions of one image")
            masks[image].append(mask)
            ignored[image] = ignored[image] or ignore
    elif first is not None:
        for place, image, values in known.rows(path, 4):
            x0, y0, x1, y1 = corners = [_coordinate(value, place) for value in values]
            if x1 < x0 or y1 < y0:
                raise ValueError(f"{place}: the box {' '.join(values)} has its corners the wrong way round")
            boxes[image].append(corners)
    rows = masks if any(masks) else boxes
    return (
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([corners for own in boxes for corners in own] or np.zeros((0, 4), np.int64)),
        PackedStrings.pack(mask for own in masks for mask in own),
        PackedStrings.pack(ignored if any(masks) else ()),
    )


def _first_row(path: Path) -> str | None:
    """None where there is no such file, or nothing in it: the benchmark leaves empty files."""
    return next((row for _, row in _rows(path)), None) if path.is_file() else None


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """Each line that is not empty, with its place in words."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if row := line.rstrip("\n"):
                yield f"{path}, line {number}", row


def _coordinate(text: str, place: str) -> float:
    if not _is_number(text) or float(text) < 0:
        raise ValueError(f"{place}: {text!r} is not a number of at least 0")
    value = float(text)
    return int(value) if value == int(value) else value


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _integer(text: str, place: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{place}: {text!r} is not a whole number of at least {least}")
    return int(text)


def _require_each(present_N: np.ndarray, position: dict[str, int], path: Path) -> None:
    if not present_N.all():
        missing = [image for image, i in position.items() if not present_N[i]]
        raise ValueError(f"{path} has no row of {missing[0]!r} ({len(missing):,} of {len(position):,} images)")
