"""Boxes and classes of a folder of images: from VOC XML files, a COCO JSON or a CSV. One form for all three.

What is wrong with one image's annotation is said of that image, and loses no other; a file that cannot be read at
all is a ValueError.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cam_lightning.dataset.format.voc import read_voc


class AnnotatedObject(NamedTuple):
    """One box, and the class that it names ("" for none)."""

    name: str
    box: tuple[float, float, float, float]
    """xyxy, half-open, frame `original`."""


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


COLUMNS = {
    ("xmin", "ymin", "xmax", "ymax"): lambda a, b, c, d: (a, b, c + 1, d + 1),
    ("x0", "y0", "x1", "y1"): lambda a, b, c, d: (a, b, c, d),
    ("x", "y", "width", "height"): lambda a, b, c, d: (a, b, a + c, b + d),
}
"""A CSV's columns say what its boxes mean: corners both inside, half-open corners, or a corner and a size."""


def box_faults(boxes: Iterable[Iterable[float]], size: tuple[int, int] | None) -> list[str]:
    """What is wrong with xyxy boxes, half-open, one line for each; nothing where all are right.

    A box may end up to a pixel outside its image of `size` (height, width): rounded and inclusive corners do.
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
    return faults


def read_voc_folder(folder: Path, first_pixel: int = 0) -> Iterator[ImageAnnotation]:
    """VOC XML: one file per image, called as the image is; corners both lie inside the box.

    `first_pixel` is what the files call the first row and column: 0 as in ILSVRC, 1 as in Pascal VOC.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"dataset.annotations={folder} is no folder; dataset.format=voc needs one of XML files")
    for path in sorted(folder.rglob("*.xml")):
        image = os.fsencode(path.relative_to(folder).with_suffix("").as_posix()).decode("utf-8", "backslashreplace")
        yield _read_voc(path, image, first_pixel)


def read_coco(path: Path) -> Iterator[ImageAnnotation]:
    """COCO's JSON: `images`, `categories`, and `annotations` with `bbox` as x y width height. Crowds are left out."""
    content = _json(path)
    lists = [content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations", "categories")]
    if not all(isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries) for entries in lists):
        raise ValueError(f"{path} is not COCO's: it needs lists of objects called images, annotations and categories")
    images, annotations, categories = (entries or [] for entries in lists)
    names = {category.get("id"): str(category.get("name", "")) for category in categories}
    entries: dict[Any, ImageAnnotation] = {}
    for image in images:
        number, file_name = image.get("id"), str(image.get("file_name", ""))
        if number in entries:
            entries[number].faults.append(f"image id {number} is there twice, also as {file_name}")
            continue
        size = _size(image.get("height"), image.get("width"))
        entries[number] = ImageAnnotation(file_name, f"{path}, image {number}", [], [], size, [])
    for annotation in annotations:
        number = annotation.get("image_id")
        if number not in entries:
            nobody = f"image id {number}"
            yield ImageAnnotation(
                nobody, f"{path}, annotation {annotation.get('id')}", [], [], None, [f"there is no {nobody}"]
            )
            continue
        entry = entries[number]
        name = names.get(annotation.get("category_id"))
        if name is None:
            entry.faults.append(
                f"annotation {annotation.get('id')} has category {annotation.get('category_id')}, not one listed"
            )
        elif not annotation.get("iscrowd"):
            _add(entry, name, annotation.get("bbox"), ("x", "y", "width", "height"))
    yield from entries.values()


def read_csv(path: Path) -> Iterator[ImageAnnotation]:
    """A CSV with a header: `image`, `class` if classes are named, and four columns of `COLUMNS`; one row per box.

    A row whose four are empty gives an image its class and no box.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    rows = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip().lower() for name in next(rows, [])]
    sides = next((columns for columns in COLUMNS if set(columns) <= set(header)), None)
    if "image" not in header or sides is None or len(set(header)) < len(header):
        choices = ", or ".join(",".join(columns) for columns in COLUMNS)
        raise ValueError(
            f"{path}, line 1: the columns are image, class (if named) and {choices}; found {','.join(header)}"
        )
    entries: dict[str, ImageAnnotation] = {}
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        place = f"line {rows.line_num}"
        if not any(value.strip() for value in row):
            continue
        values = dict.fromkeys(header, "") | dict(zip(header, row, strict=False))
        image = values["image"]
        entry = entries.setdefault(image, ImageAnnotation(image, str(path), [], [], None, []))
        if len(row) != len(header):
            entry.faults.append(f"{place} has {len(row)} values for {len(header)} columns")
        elif tuple(row) in seen:
            entry.faults.append(f"{place} says the same as a line before")
        elif any(values[side].strip() for side in sides):
            _add(entry, values.get("class", "").strip(), [values[side] for side in sides], sides, f"{place}: ")
        elif values.get("class"):
            entry.names.append(values["class"].strip())
        seen.add(tuple(row))
    yield from entries.values()


def _read_voc(path: Path, image: str, first_pixel: int) -> ImageAnnotation:
    try:
        voc = read_voc(path.read_bytes(), str(path), first_pixel)
    except (ValueError, OSError) as error:
        return ImageAnnotation(image, str(path), [], [], None, [str(error).removeprefix(f"{path}").lstrip(": ,")])
    size = (voc.height, voc.width)
    objects = [AnnotatedObject(name, tuple(box)) for name, box in zip(voc.names, voc.boxes_N4.tolist(), strict=True)]
    return ImageAnnotation(image, str(path), voc.names, objects, size, box_faults(voc.boxes_N4, size))


def _add(entry: ImageAnnotation, name: str, values: Any, sides: tuple[str, ...], place: str = "") -> None:
    """Adds a box to an image's annotation, or says there why it is none."""
    try:
        a, b, c, d = map(float, values)
    except (TypeError, ValueError):
        entry.faults.append(f"{place}a box needs four numbers, {' '.join(sides)}; got {values}")
        return
    box = COLUMNS[sides](a, b, c, d)  # type: ignore[index]
    faults = box_faults([box], entry.size)
    entry.faults.extend(place + fault for fault in faults)
    if name:
        entry.names.append(name)
    if not faults:
        entry.objects.append(AnnotatedObject(name, box))


def _size(height: Any, width: Any) -> tuple[int, int] | None:
    """Height and width; None where they are not given, which some tools write as 0."""
    try:
        size = int(height), int(width)
    except (TypeError, ValueError):
        return None
    return size if min(size) > 0 else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def as_array(objects: Iterable[AnnotatedObject]) -> np.ndarray:
    """The boxes of some objects, float32 (N, 4)."""
    return np.array([thing.box for thing in objects], np.float32).reshape(-1, 4)
