"""One annotation file of LabelMe: polygons with names, as SUN's scenes have them."""

from __future__ import annotations

import math
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np


class LabelMe(NamedTuple):
    """What an annotation file says of its image."""

    size: tuple[int, int] | None
    """Height and width; None where the file does not say."""
    names: list[str]
    polygons: list[np.ndarray]
    """Of each name, float64 (N, 2): x, y in pixels, of which the first is 0."""

    def masks(self, size: tuple[int, int]) -> dict[str, np.ndarray]:
        """Name → bool (H, W) of all its polygons, on an image of this height and width; the rest is cut off."""
        found: dict[str, np.ndarray] = {}
        for name, polygon_N2 in zip(self.names, self.polygons, strict=True):
            mask_HW = found.setdefault(name, np.zeros(size, np.uint8))
            cv2.fillPoly(mask_HW, [polygon_N2.round().astype(np.int32)], (1,))
        return {name: mask_HW.astype(bool) for name, mask_HW in found.items() if mask_HW.any()}


def read_labelme(data: bytes, file: str) -> LabelMe:
    """Reads one file; objects that are marked as deleted are left out. Names are in lower case.

    Raises ValueError, naming the file and what is wrong.
    """
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{file} is not XML: {error}") from error
    if root.tag != "annotation":
        raise ValueError(f"{file} is not LabelMe's: it begins with {root.tag}, not annotation")
    names, polygons = [], []
    for number, thing in enumerate(root.iter("object"), start=1):
        place = f"{file}, object {number}"
        if (thing.findtext("deleted") or "0").strip() == "1":
            continue
        name = " ".join((thing.findtext("name") or "").lower().split())
        polygon = thing.find("polygon")
        if not name or polygon is None:
            raise ValueError(f"{place}: it has no {'polygon' if name else 'name'}")
        points = [[_number(point, side, place) for side in "xy"] for point in polygon.iter("pt")]
        if len(points) < 3:
            raise ValueError(f"{place} ({name}): a polygon of {len(points)} points")
        names.append(name)
        polygons.append(np.array(points))
    return LabelMe(_size(root, file), names, polygons)


def _size(root: ElementTree.Element, file: str) -> tuple[int, int] | None:
    node = root.find("imagesize")
    if node is None:
        return None
    height, width = (_number(node, side, file) for side in ("nrows", "ncols"))
    return (int(height), int(width)) if height > 0 and width > 0 else None


def _number(node: ElementTree.Element, key: str, place: str) -> float:
    text = (node.findtext(key) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # A larger one is no pixel, and would be another number as 32 bits.
    if not abs(value) < 1e6:
        what = f"{text!r}, not a number of pixels" if text else "missing"
        raise ValueError(f"{place}: {key} is {what}")
    return value
