"""Boxes and classes of a folder of images, in the JSON of COCO, which most labelling tools write too."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

from cam_lightning.dataset.format.folder_annotations import (
    ImageAnnotation,
    add_box,
    class_name,
    new_annotation,
    size_of,
)

LISTS = ("images", "annotations", "categories")
BOX = ("x", "y", "width", "height")


def read_coco(path: Path, unit: str = "auto") -> Iterator[ImageAnnotation]:
    """COCO's JSON: `images`, `categories`, and `annotations` with `bbox` as x y width height. Crowds are left out.

    Raises ValueError where it is no such file.
    """
    content = _json(path)
    lists = [content.get(key) if isinstance(content, dict) else None for key in LISTS]
    if not all(isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries) for entries in lists):
        raise ValueError(f"{path} is not COCO's: it needs lists of objects called images, annotations and categories")
    images, annotations, categories = (entries or [] for entries in lists)
    names = {
        _key(category.get("id"), path, "category"): class_name(category.get("name", "")) for category in categories
    }
    entries: dict[Any, ImageAnnotation] = {}
    for image in images:
        number, file_name = _key(image.get("id"), path, "image"), str(image.get("file_name", ""))
        if number in entries:
            entries[number].faults.append(f"image id {number} is there twice, also as {file_name}")
            continue
        size = size_of(image.get("height"), image.get("width"))
        entries[number] = new_annotation(file_name, f"{path}, image {number}", size)
    for annotation in annotations:
        number = _key(annotation.get("image_id"), path, "image")
        if number not in entries:
            nobody = f"image id {number}"
            yield new_annotation(nobody, f"{path}, annotation {annotation.get('id')}", None, f"there is no {nobody}")
            continue
        entry = entries[number]
        name = names.get(_key(annotation.get("category_id"), path, "category"))
        if name is None:
            entry.faults.append(
                f"annotation {annotation.get('id')} has category {annotation.get('category_id')}, not one listed"
            )
        elif not annotation.get("iscrowd"):
            add_box(entry, name, annotation.get("bbox"), BOX, unit)
    yield from entries.values()


def _key(value: Any, path: Path, what: str) -> Hashable:
    """An id, which is a number or a text; ValueError for what could not be one."""
    if isinstance(value, str | int | float | None):
        return value
    raise ValueError(f"{path}: the {what} id {json.dumps(value)[:80]} is neither a number nor a text")


def _json(path: Path) -> Any:
    try:
        # Bytes: a byte order mark says which Unicode encoding they are in, and UTF-8 needs none.
        return json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is not COCO's: its lists lie too deep in each other") from error
