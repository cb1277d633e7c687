"""One annotation file in the XML of Pascal VOC, which ILSVRC and most labelling tools write too."""

from __future__ import annotations

import math
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocAnnotation(NamedTuple):
    """What an annotation file says of its image."""

    width: int
    height: int
    names: list[str]
    """The class of each object; in ILSVRC a WordNet id."""
    boxes_N4: np.ndarray
    """float32: one box per object, xyxy half-open, frame `original`."""


def read_voc(data: bytes, file: str, first_pixel: int = 0) -> VocAnnotation:
    """Reads one annotation file; `file` is its name in messages.

    Both corners in the file are pixels inside the box. `first_pixel` is the number of the first pixel: 0 in
    ILSVRC's files, 1 in Pascal VOC's own. Raises ValueError, naming the file and what is wrong. Boxes that reach
    out of the image are not refused here: published files have them.
    """
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{file} is not XML: {error}") from error
    width, height = (_number(root, f"size/{side}", file) for side in ("width", "height"))
    if not (width >= 1 and height >= 1 and width == int(width) and height == int(height)):
        raise ValueError(f"{file}: an image of {width:g}×{height:g} pixels")
    names, boxes = [], []
    for number, thing in enumerate(root.iter("object"), start=1):
        place = f"{file}, object {number}"
        name = (thing.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"{place}: it has no name")
        x0, y0, x1, y1 = corners = [_number(thing, f"bndbox/{side}", place) for side in SIDES]
        if x1 < x0 or y1 < y0:
            raise ValueError(f"{place}: the box {corners} has its corners the wrong way round")
        names.append(name)
        boxes.append([x0 - first_pixel, y0 - first_pixel, x1 + 1 - first_pixel, y1 + 1 - first_pixel])
    return VocAnnotation(int(width), int(height), names, np.array(boxes, np.float32).reshape(-1, 4))


def _number(node: ElementTree.Element, path: str, place: str) -> float:
    text = (node.findtext(path) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{place}: {path} is {text!r}, not a number" if text else f"{place}: {path} is missing")
    return value
