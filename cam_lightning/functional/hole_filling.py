"""Filling the holes of all thresholds at once."""

from __future__ import annotations

import numpy as np
from numba import njit, uint8, uint64

_kernel = njit(nogil=True, cache=True, error_model="numpy")


def fill_holes(padded: np.ndarray) -> np.ndarray:
    """Raises each pixel to the lowest level at which it can be reached from outside the image, uint8.

    The way goes over 4-connected neighbours, and its level is the highest pixel on it. So, at every level,
    the pixels above it in the result are those above it in the image, with the holes filled: what is enclosed
    by an 8-connected component belongs to it. `padded` is uint8 with a border of one pixel of level 0.

    Priority flood (Barnes et al. 2014), with one bucket per level: pixels are taken from the outside inwards,
    the lowest first, and each enters a bucket once.
    """
    filled = padded.copy()
    _flood(padded.copy(), filled.ravel())
    return filled


@_kernel
def _flood(waiting: np.ndarray, filled: np.ndarray) -> None:
    """`waiting` holds the level of a pixel that is yet to be reached, and 255 afterwards.

    Pixels of level 255 need no visit: they keep it, and what lies behind them gets it.
    """
    height, width = waiting.shape[0] - 2, waiting.shape[1] - 2
    pitch, one = uint64(width + 2), uint64(1)
    waiting[0], waiting[-1], waiting[:, 0], waiting[:, -1] = 255, 255, 255, 255
    level_of = waiting.ravel()
    # Buckets are linked lists: the head of each, and what follows each pixel; 0, a border pixel, is the end.
    head_L = np.zeros(256, np.uint32)
    following = np.empty(level_of.size, np.uint32)
    for y in range(1, height + 1):
        for x in range(1, width + 1, 1 if y in (1, height) else max(width - 1, 1)):
            pixel = y * (width + 2) + x
            level = level_of[pixel]
            level_of[pixel] = 255
            following[pixel] = head_L[level]
            head_L[level] = pixel
    for current in range(255):
        level = uint8(current)
        pixel = uint64(head_L[current])
        while pixel != 0:
            rest = uint64(following[pixel])
            for neighbour in (pixel - pitch, pixel - one, pixel + one, pixel + pitch):
                its_level = level_of[neighbour]
                if its_level != 255:
                    level_of[neighbour] = 255
                    if its_level <= level:
                        filled[neighbour] = level
                        following[neighbour] = rest
                        rest = neighbour
                    else:
                        following[neighbour] = head_L[its_level]
                        head_L[its_level] = neighbour
            pixel = rest
    for i in range(level_of.size):
        if level_of[i] != 255:
            filled[i] = 255
