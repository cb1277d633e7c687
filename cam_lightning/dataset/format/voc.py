"""One annotation file in the XML of Pascal VOC, which ILSVRC and most labelling tools write too."""

from __future__ import annotations

import math
import re
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

SIDES = ("xmin", "ymin", "xmax", "ymax")
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")


class VocAnnotation(NamedTuple):
    """What an annotation file says of its image."""

    width: int
    """0 where the file does not say."""
    height: int
    names: list[str]
    """The class of each object; in ILSVRC a WordNet id."""
    boxes_N4: np.ndarray
    """float32: one box per object, xyxy half-open, frame `original`."""
    difficult_N: list[bool]
    """Whether the object is marked as hard to recognize, which the challenge neither asks for nor counts as wrong."""


def read_voc(data: bytes, file: str, first_pixel: int = 0) -> VocAnnotation:
    """Reads one annotation file; `file` is its name in messages.

    Both corners in the file are pixels inside the box. `first_pixel` is the number of the first pixel: 0 in
    ILSVRC's files, 1 in Pascal VOC's own. Names may be in a namespace, and the text in any encoding that Python
    knows. Raises ValueError, naming the file and what is wrong. Boxes that reach out of the image are not refused
    here: published files have them.
    """
    try:
        root = ElementTree.fromstring(_decoded(data))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{file} is not XML: {error}") from error
    for node in root.iter():
        if isinstance(node.tag, str):
            node.tag = node.tag.rpartition("}")[2]
    height, width = _size(root, file)
    names, boxes, difficult = [], [], []
    for number, thing in enumerate(root.iter("object"), start=1):
        place = f"{file}, object {number}"
        name = (thing.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"{place}: it has no name")
        x0, y0, x1, y1 = corners = [_number(thing, f"bndbox/{side}", place) for side in SIDES]
        if x1 < x0 or y1 < y0:
            raise ValueError(f"{place}: the box {corners} has its corners the wrong way round")
        names.append(name)
        difficult.append((thing.findtext("difficult") or "").strip() == "1")
        boxes.append([x0 - first_pixel, y0 - first_pixel, x1 + 1 - first_pixel, y1 + 1 - first_pixel])
    return VocAnnotation(width, height, names, np.array(boxes, np.float32).reshape(-1, 4), difficult)


def _decoded(data: bytes) -> bytes | str:
    """The text where the parser itself would not know the declared encoding: it reads none of several bytes."""
    declared = _DECLARED.match(data)
    if declared is None or declared[1].lower() in (b"utf-8", b"us-ascii", b"iso-8859-1", b"utf-16"):
        return data
    return data[declared.end() :].decode(declared[1].decode("ascii"))


def _size(root: ElementTree.Element, file: str) -> tuple[int, int]:
    """Height and width; 0 both where the file gives none, or zeros, as some tools do."""
    sides = [(root.findtext(f"size/{side}") or "").strip() for side in ("height", "width")]
    if not any(sides):
        return 0, 0
    height, width = (_number(root, f"size/{side}", file) for side in ("height", "width"))
    if height == width == 0:
        return 0, 0
    if not (width >= 1 and height >= 1 and width == int(width) and height == int(height)):
        raise ValueError(f"{file}: an image of {width:g}×{height:g} pixels")
    return int(height), int(width)


def _number(node: ElementTree.Element, path: str, place: str) -> float:
    text = (node.findtext(path) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{place}: {path} is {text!r}, not a number" if text else f"{place}: {path} is missing")
    return value
