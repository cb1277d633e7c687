"""Street View Text's XML: images of streets, and the words on them that a lexicon knows, a box each."""

from __future__ import annotations

import math
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import torch

from cam_lightning.functional.box import from_xywh

SIDES = ("x", "y", "width", "height")


class TextImage(NamedTuple):
    """One `image` of the file."""

    name: str
    """As it is written, with its folder: `img/14_03.jpg`."""
    size: tuple[int, int]
    """Height and width."""
    words: list[str]
    boxes_N4: np.ndarray
    """float32, xyxy half-open, cut off at the image's edges."""


def read_svt(data: bytes, file: str) -> list[TextImage]:
    """Reads `train.xml` or `test.xml`; raises ValueError, naming the file and the image, for what is not as published.

    A box is the corner x, y and the width and height; the size of the image is in `Resolution`, or `resolution` as
    ICDAR's files have it. Boxes that reach out of the image are cut off; one that lies outside of it is an error.
    """
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{file} is not XML: {error}") from error
    images = [_image(node, f"{file}, image {number}") for number, node in enumerate(root.iter("image"), start=1)]
    if not images:
        raise ValueError(f"{file} has no image: expected <tagset><image>… as Street View Text has it")
    return images


def _image(node: ElementTree.Element, place: str) -> TextImage:
    name = (node.findtext("imageName") or "").strip()
    if not name:
        raise ValueError(f"{place} has no imageName")
    place = f"{place} ({name})"
    resolution = next((node.find(tag) for tag in ("Resolution", "resolution") if node.find(tag) is not None), None)
    if resolution is None:
        raise ValueError(f"{place} has no Resolution")
    width, height = (_number(resolution, side, f"{place}, Resolution") for side in "xy")
    if not (width >= 1 and height >= 1 and width == int(width) and height == int(height)):
        raise ValueError(f"{place}: an image of {width:g}×{height:g} pixels")
    words, boxes = [], []
    for number, rectangle in enumerate(node.iter("taggedRectangle"), start=1):
        where = f"{place}, rectangle {number}"
        words.append((rectangle.findtext("tag") or "").strip())
        xywh = [_number(rectangle, side, where) for side in SIDES]
        x0, y0, x1, y1 = from_xywh(torch.tensor([xywh], dtype=torch.float64))[0].tolist()
        box = [max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)]
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(f"{where}: the box x y width height {xywh} is not on an image of {width:g}×{height:g}")
        boxes.append(box)
    if not boxes:
        raise ValueError(f"{place} has no taggedRectangle: every image of Street View Text has a word")
    return TextImage(name, (int(height), int(width)), words, np.array(boxes, np.float32).reshape(-1, 4))


def _number(node: ElementTree.Element, key: str, place: str) -> float:
    text = node.get(key, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{place}: {key} is {text!r}, not a number" if text else f"{place}: {key} is missing")
    return value
