"""Filling the holes of all thresholds at once."""

from __future__ import annotations

import numpy as np
from numba import njit, uint8

from cam_lightning.functional.kernel.union_find import index

_kernel = njit(nogil=True, cache=True, error_model="numpy")


def fill_holes(padded: np.ndarray) -> np.ndarray:
    """Raises each pixel to the lowest level at which it can be reached from outside the image, uint8.

    The way goes over 4-connected neighbours, and its level is the highest pixel on it. So, at every level, the pixels
    above it in the result are those above it in the image, with the holes filled: what is enclosed by an 8-connected
    component belongs to it. `padded` is uint8 with a border of one pixel of level 0.

    Two passes in raster order reach most pixels of a smooth map at their own level, as Vincent 1993 begins greyscale
    reconstruction. The rest is priority flood (Barnes et al. 2014) from the pixels beside it.
    """
    filled, waiting = np.zeros_like(padded), np.full_like(padded, 255)
    _pass_both_ways(padded, filled, waiting)
    beside = np.zeros(padded.shape, np.bool_)
    _mark_beside(waiting, beside)
    _flood(np.flatnonzero(beside), waiting.ravel(), filled.ravel(), padded.shape[1])
    return filled


@_kernel
def _pass_both_ways(padded: np.ndarray, filled: np.ndarray, waiting: np.ndarray) -> None:
    """Reaches pixels on ways that go right and down, then on ways that go left and up from what is reached.

    A pixel that is reached at its own level is settled: 255 in `waiting`. The others have their own level there.
    """
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    for y in range(1, height + 1):
        own, above, out = padded[y], filled[y - 1], filled[y]
        before = 0
        for x in range(1, width + 1):
            before = max(min(before, int(above[x])), int(own[x]))
            out[x] = before
    for y in range(height, 0, -1):
        own, below, out, wait = padded[y], filled[y + 1], filled[y], waiting[y]
        for x in range(1, width + 1):
            out[x] = min(out[x], below[x])
        before = 0
        for x in range(width, 0, -1):
            before = max(min(before, int(out[x])), int(own[x]))
            out[x] = before
        for x in range(1, width + 1):
            wait[x] = 255 if out[x] == own[x] else own[x]


@_kernel
def _mark_beside(waiting: np.ndarray, beside: np.ndarray) -> None:
    """Marks settled pixels with a neighbour that is not; a loop that the compiler vectorises."""
    for y in range(1, waiting.shape[0] - 1):
        up, down, left, here, right = waiting[y - 1, 1:], waiting[y + 1, 1:], waiting[y], waiting[y, 1:], waiting[y, 2:]
        out = beside[y, 1:]
        for x in range(waiting.shape[1] - 2):
            open_side = (up[x] != 255) | (down[x] != 255) | (left[x] != 255) | (right[x] != 255)
            out[x] = (here[x] == 255) & open_side


@_kernel
def _flood(settled_P: np.ndarray, waiting: np.ndarray, filled: np.ndarray, pitch: int) -> None:
    """Settles the rest, the lowest first, so that each pixel enters a bucket once, and at its final level.

    Buckets, one per level, are linked lists: the head of each, and what follows each pixel; 0, a border pixel, is the
    end. Nothing is reached through level 255 lower down, so that bucket is never opened.
    """
    head_L = np.zeros(256, np.uint32)
    following = np.empty(waiting.size, np.uint32)
    for pixel in settled_P:
        following[pixel] = head_L[filled[pixel]]
        head_L[filled[pixel]] = pixel
    row, one = index(pitch), index(1)
    for current in range(255):
        level = uint8(current)
        pixel = index(head_L[current])
        while pixel != 0:
            rest = index(following[pixel])
            for neighbour in (pixel - row, pixel - one, pixel + one, pixel + row):
                own = waiting[neighbour]
                if own != 255:
                    waiting[neighbour] = 255
                    if own <= level:
                        filled[neighbour] = level
                        following[neighbour] = rest
                        rest = neighbour
                    else:
                        filled[neighbour] = own
                        following[neighbour] = head_L[own]
                        head_L[own] = neighbour
            pixel = rest
    for i in range(waiting.size):
        if waiting[i] != 255:
            filled[i] = 255
