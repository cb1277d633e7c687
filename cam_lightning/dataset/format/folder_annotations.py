"""Boxes and classes of a folder of images, in one form whether they come from VOC XML, a COCO JSON or a CSV.

What is wrong with one image's annotation is said of that image, and loses no other; a file that cannot be read at
all is a ValueError.
"""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cam_lightning.dataset.format.voc import SIDES, read_voc
from cam_lightning.dataset.pipeline.walk import walk

UNITS = ("auto", "pixels", "fraction")
"""`dataset.box_unit`: shares of the image's sides, pixels, or pixels that must not look like shares."""
SLACK = 0.01
"""How far out of 0..1 rounded shares may end."""


class AnnotatedObject(NamedTuple):
    """One box, and the class that it names ("" for none)."""

    name: str
    box: tuple[float, float, float, float]
    """xyxy, half-open, frame `original`; shares of the image's sides where the unit is `fraction`."""


class ImageAnnotation(NamedTuple):
    """What an annotation says of one image."""

    image: str
    """The image's path, or the end of it: what the annotation calls it. Without suffix where it comes from XML."""
    place: str
    """The file, and where in it, for messages."""
    names: list[str]
    """Classes that the annotation gives the image, with a box or without."""
    objects: list[AnnotatedObject]
    size: tuple[int, int] | None
    """Height and width."""
    faults: list[str]
    """One line for each thing that is wrong."""
    small: list[tuple[float, ...]]
    """The four numbers of each box that has all of them in 0..1, as the annotation has them."""


COLUMNS = {
    ("xmin", "ymin", "xmax", "ymax"): lambda a, b, c, d: (a, b, c + 1, d + 1),
    ("x0", "y0", "x1", "y1"): lambda a, b, c, d: (a, b, c, d),
    ("x", "y", "width", "height"): lambda a, b, c, d: (a, b, a + c, b + d),
}
"""A CSV's columns say what its boxes mean: corners both inside, half-open corners, or a corner and a size."""


def box_faults(boxes: Iterable[Iterable[float]], size: tuple[int, int] | None) -> list[str]:
    """What is wrong with xyxy boxes, half-open, one line for each; nothing where all are right.

    A box may end up to a pixel outside its image of `size` (height, width): rounded and inclusive corners do. It
    may not lie there altogether.
    """
    faults = []
    for box in boxes:
        x0, y0, x1, y1 = (float(value) for value in box)
        shown = f"box {x0:g} {y0:g} {x1:g} {y1:g} (x0 y0 x1 y1, half-open)"
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            faults.append(f"{shown} is not of numbers")
        elif x1 < x0 or y1 < y0:
            faults.append(f"{shown} has its corners the wrong way round")
        elif x1 == x0 or y1 == y0:
            faults.append(f"{shown} is empty")
        elif size is not None and (min(x0, y0) < -1 or x1 > size[1] + 1 or y1 > size[0] + 1):
            faults.append(f"{shown} leaves its image, which is {size[1]} wide and {size[0]} high")
        elif x1 <= 0 or y1 <= 0 or (size is not None and (x0 >= size[1] or y0 >= size[0])):
            image = "its image" if size is None else f"its image, which is {size[1]} wide and {size[0]} high"
            faults.append(f"{shown} lies wholly outside {image}")
    return faults


def new_annotation(image: str, place: str, size: tuple[int, int] | None = None, *faults: str) -> ImageAnnotation:
    """An annotation that says nothing yet but what is wrong with it."""
    return ImageAnnotation(image, place, [], [], size, list(faults), [])


def add_box(
    entry: ImageAnnotation, name: str, values: Any, sides: tuple[str, ...], unit: str, place: str = "", shift: int = 0
) -> None:
    """Adds a box to an image's annotation, or says there why it is none.

    `values` are what the columns `sides` of `COLUMNS` hold, counted from `shift`. Shares have no pixels to be
    inside of: their corners are taken as they are.
    """
    try:
        a, b, c, d = numbers = tuple(map(float, values))
    except (TypeError, ValueError, OverflowError):
        entry.faults.append(f"{place}a box needs four numbers, {' '.join(sides)}; got {values}")
        return
    if name:
        entry.names.append(name)
    if unit == "fraction":
        box = (a, b, a + c, b + d) if "width" in sides else (a, b, c, d)
        faults = box_faults([box], None)
        if not faults and (min(box) < -SLACK or max(box) > 1 + SLACK):
            faults = [f"box {' '.join(f'{side:g}' for side in numbers)} is not within 0..1 (dataset.box_unit=fraction)"]
    else:
        x0, y0, x1, y1 = COLUMNS[sides](a, b, c, d)  # type: ignore[index]
        box = (x0 - shift, y0 - shift, x1 - shift, y1 - shift)
        faults = box_faults([box], entry.size)
        if all(0 <= number <= 1 for number in numbers):
            entry.small.append(numbers)
    entry.faults.extend(place + fault for fault in faults)
    if not faults:
        entry.objects.append(AnnotatedObject(name, box))


def class_name(text: object) -> str:
    """A class as an annotation names it: without spaces around it, and composed (NFC), as folders' names are read."""
    return unicodedata.normalize("NFC", str(text).strip())


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """Height and width; None where they are not given, which some tools write as 0."""
    try:
        size = int(height), int(width)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def read_voc_folder(folder: Path, first_pixel: int = 0, unit: str = "auto") -> Iterator[ImageAnnotation]:
    """VOC XML: one file per image, called as the image is; corners both lie inside the box. Links are followed.

    `first_pixel` is what the files call the first row and column: 0 as in ILSVRC, 1 as in Pascal VOC.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"dataset.annotations={folder} is no folder; dataset.format=voc needs one of XML files")
    for below, _, files in walk(folder):
        for name in files:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() == ".xml":
                image = f"{below}/{stem}" if below else stem
                image = os.fsencode(image).decode("utf-8", "backslashreplace")
                yield _read_voc(folder / below / name, image, first_pixel, unit)


def _read_voc(path: Path, image: str, first_pixel: int, unit: str) -> ImageAnnotation:
    try:
        voc = read_voc(path.read_bytes(), str(path))
    except (ValueError, OSError) as error:
        return new_annotation(image, str(path), None, str(error).removeprefix(f"{path}").lstrip(": ,"))
    entry = new_annotation(image, str(path), size_of(voc.height, voc.width))
    for name, box in zip(voc.names, voc.boxes_N4.tolist(), strict=True):
        # Whole again what the file had: both corners inside the box.
        add_box(entry, class_name(name), [*box[:2], box[2] - 1, box[3] - 1], SIDES, unit, shift=first_pixel)
    return entry


def require_pixels(annotations: Iterable[ImageAnnotation], where: Path) -> list[str]:
    """Tells boxes that look like shares of the image's sides from boxes in pixels.

    Raises ValueError where half of the boxes, or more, lie in 0..1, the corner pixel. A line for each where they are
    fewer: there are such small objects, and there are files of two units.
    """
    annotations = list(annotations)
    small = [(each, numbers) for each in annotations for numbers in each.small]
    num_boxes = sum(len(each.objects) for each in annotations)
    lines = [
        f"{each.place}: the box {_shown(numbers)} of {each.image} lies within its image's first pixel"
        for each, numbers in small
        if any(number != int(number) for number in numbers)
    ]
    if small and 2 * len(small) >= num_boxes and (lines or len(small) >= num_boxes):
        each, numbers = small[0]
        raise ValueError(
            f"{len(small):,} of {max(num_boxes, len(small)):,} boxes of {where} lie within 0..1, such as "
            f"{_shown(numbers)} of {each.image}. Where these are shares of the image's width and height, say "
            "dataset.box_unit=fraction; where they are pixels, dataset.box_unit=pixels"
        )
    return lines


def _shown(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers)


def as_array(objects: Iterable[AnnotatedObject]) -> np.ndarray:
    """The boxes of some objects, float32 (N, 4)."""
    return np.array([thing.box for thing in objects], np.float32).reshape(-1, 4)
