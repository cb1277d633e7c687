"""The pixels of a map of grey levels from the brightest to the darkest, with what each finds around it.

Adding pixels one by one in this order grows the components of all thresholds in one pass (Salembier et al.
1998; Najman and Couprie 2006). Everything a sweep needs to know of a new pixel is in one byte: which of its
eight neighbours came before it. Tables turn that byte into the few neighbours that have to be looked up.

Images are padded by one pixel of level 0 on each side, so no kernel checks bounds. A pixel's index is
y · pitch + x in the padded image, 32 bits wide, so images of any size that fits into memory are safe.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit, uint8

_kernel = njit(nogil=True, cache=True, error_model="numpy")

RING = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Offsets (y, x) of the eight neighbours; bit i of a ring byte is set if neighbour i came earlier."""


class PixelOrder(NamedTuple):
    """Pixels in descending order of level, those of one level in raster order."""

    pixel_P: np.ndarray
    """uint32: index in the padded image."""
    above_L: np.ndarray
    """int64 (256,): how many pixels are above each level; level v has above_L[v] : above_L[v - 1]."""
    ring: np.ndarray
    """uint8, one per pixel of the padded image: which neighbours come before it."""
    top: int
    """The highest level there is."""
    pitch: int
    """Length of a padded row."""


def pad(level_HW: np.ndarray) -> np.ndarray:
    """The image (H + 2, W + 2), uint8, with a border of level 0."""
    height, width = level_HW.shape
    padded = np.zeros((height + 2, width + 2), np.uint8)
    padded[1:-1, 1:-1] = level_HW
    return padded


def max_components(height: int, width: int) -> int:
    """How many 8-connected components can begin in an image: their first pixels do not touch each other."""
    return ((height + 1) // 2) * ((width + 1) // 2)


def order_pixels(padded: np.ndarray) -> PixelOrder:
    """Sorts the pixels of a padded uint8 image by level."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    above_L = np.zeros(256, np.int64)
    pixel_P = np.empty(height * width, np.uint32)
    ring = np.zeros(padded.shape, np.uint8)
    top = _sort(padded, above_L, pixel_P)
    _mark_rings(padded, ring)
    return PixelOrder(pixel_P, above_L, ring.ravel(), top, width + 2)


@_kernel
def _sort(padded: np.ndarray, above_L: np.ndarray, pixel_P: np.ndarray) -> int:
    """A counting sort, stable in raster order; returns the highest level."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    count_L = np.zeros(256, np.int64)
    for y in range(1, height + 1):
        row = padded[y]
        for x in range(1, width + 1):
            count_L[row[x]] += 1
    for level in range(254, -1, -1):
        above_L[level] = above_L[level + 1] + count_L[level + 1]
    place_L = above_L.copy()
    for y in range(1, height + 1):
        row = padded[y]
        for x in range(1, width + 1):
            level = row[x]
            place = place_L[level]
            pixel_P[place] = y * (width + 2) + x
            place_L[level] = place + 1
    top = 255
    while top > 0 and count_L[top] == 0:
        top -= 1
    return top


@_kernel
def _mark_rings(padded: np.ndarray, ring: np.ndarray) -> None:
    """Sets the ring bytes: neighbours earlier in raster order come first also at the same level."""
    width = padded.shape[1] - 2
    for y in range(1, padded.shape[0] - 1):
        # Slices that start at the left, middle and right neighbour let the compiler vectorise the loop.
        up_left, up, up_right = padded[y - 1], padded[y - 1, 1:], padded[y - 1, 2:]
        left, here, right = padded[y], padded[y, 1:], padded[y, 2:]
        down_left, down, down_right = padded[y + 1], padded[y + 1, 1:], padded[y + 1, 2:]
        out = ring[y, 1:]
        for x in range(width):
            level = here[x]
            earlier = uint8(up_left[x] >= level) | uint8(up[x] >= level) << 1
            earlier |= uint8(up_right[x] >= level) << 2 | uint8(left[x] >= level) << 3
            later = uint8(right[x] > level) << 4 | uint8(down_left[x] > level) << 5
            later |= uint8(down[x] > level) << 6 | uint8(down_right[x] > level) << 7
            out[x] = earlier | later


@lru_cache
def ring_representatives() -> tuple[np.ndarray, np.ndarray]:
    """For each ring byte, one neighbour per group that hangs together without the pixel, and their number.

    Neighbours of one group belong to one component already, so it is enough to look up one of them. There
    are at most four groups: (256, 4) indices into `RING`, and (256,) counts, both uint8.
    """
    representative = np.zeros((256, 4), np.uint8)
    count = np.zeros(256, np.uint8)
    for byte in range(256):
        waiting = [i for i in range(8) if byte >> i & 1]
        while waiting:
            representative[byte, count[byte]] = waiting[0]
            count[byte] += 1
            group = [waiting.pop(0)]
            for i in group:
                touching = [j for j in waiting if _touch(RING[i], RING[j])]
                group += touching
                waiting = [j for j in waiting if j not in touching]
    return representative, count


@lru_cache
def ring_steps(pitch: int) -> np.ndarray:
    """The representatives as steps in pixel index (256, 4), uint64; negative ones wrap around, by design."""
    step = np.array([y * pitch + x for y, x in RING])
    return step[ring_representatives()[0]].astype(np.uint64)


@lru_cache
def ring_kind() -> np.ndarray:
    """What to do with a new pixel, uint8 (256,): 0 begins a component, 1 joins one, more needs care.

    Bits 0 to 2 hold the number of groups around it; bit 3 is set if it may widen its component's box or be
    the component's first pixel in raster order. It does not lower the left edge if it has a neighbour in its
    own column or left of it, and so on for each edge; so most pixels are of kind 1.
    """
    kind = ring_representatives()[1].copy()
    for byte in range(1, 256):
        ys, xs = zip(*(RING[i] for i in range(8) if byte >> i & 1), strict=True)
        widens = min(ys) > 0 or max(ys) < 0 or min(xs) > 0 or max(xs) < 0
        if widens or byte & 0b1111 == 0:
            kind[byte] |= 8
    return kind


@lru_cache
def ring_polygon_gain() -> np.ndarray:
    """uint8 (256,): by how much the pixel enlarges twice the area of its component's contour polygon.

    The polygon joins pixel centres. Of each 2 × 2 block it covers everything if all four pixels belong, half
    if three do, else nothing: so each of the four blocks around a pixel gains one half when the pixel joins
    two or three others. That is the area without holes.
    """
    blocks = ((0, 1, 3), (1, 2, 4), (3, 5, 6), (4, 6, 7))
    gain = [sum(sum(byte >> i & 1 for i in block) >= 2 for block in blocks) for byte in range(256)]
    return np.array(gain, np.uint8)


def _touch(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1
