"""The box that each component keeps while it grows, in the first four columns of its row of `stats`.

Pixels are given as in `pixel_order`: y · pitch + x in an image padded by one pixel; boxes are in the image without it.
"""

from __future__ import annotations

import numpy as np
from numba import int32, njit

from cam_lightning.functional.kernel.union_find import index

X0, Y0, X1, Y1 = range(4)

_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def begin_box(stats: np.ndarray, label: int, pixel: int, pitch: int) -> None:
    """The box of one pixel; its last column and row are inside."""
    x, y = _place(pixel, pitch)
    stats[label, X0], stats[label, Y0], stats[label, X1], stats[label, Y1] = x, y, x, y


@_kernel
def extend_box(stats: np.ndarray, label: int, pixel: int, pitch: int) -> None:
    """Widens a box so that it holds the pixel."""
    x, y = _place(pixel, pitch)
    stats[label, X0], stats[label, Y0] = min(stats[label, X0], x), min(stats[label, Y0], y)
    stats[label, X1], stats[label, Y1] = max(stats[label, X1], x), max(stats[label, Y1], y)


@_kernel
def is_outside(stats: np.ndarray, label: int, pixel: int, pitch: int) -> bool:
    """Whether the pixel would widen the box."""
    x, y = _place(pixel, pitch)
    outside_x = x < stats[label, X0] or x > stats[label, X1]
    return outside_x or y < stats[label, Y0] or y > stats[label, Y1]


@_kernel
def join_boxes(stats: np.ndarray, label: int, other: int) -> None:
    """Widens a label's box so that it holds the other's."""
    for low in (X0, Y0):
        stats[label, low] = min(stats[label, low], stats[other, low])
    for high in (X1, Y1):
        stats[label, high] = max(stats[label, high], stats[other, high])


@_kernel
def holds_box(stats: np.ndarray, label: int, other: int) -> bool:
    """Whether a label's box holds the other's."""
    low = stats[label, X0] <= stats[other, X0] and stats[label, Y0] <= stats[other, Y0]
    return low and stats[label, X1] >= stats[other, X1] and stats[label, Y1] >= stats[other, Y1]


@_kernel
def best_overlap(x0: float, y0: float, x1: float, y1: float, truth_N4: np.ndarray) -> float:
    """The best IoU, float64, of a half-open box with any of the true ones; 0 where there is none.

    A division in float64 is correctly rounded, so an IoU of exactly 0.5 is 0.5.
    """
    best = 0.0
    for n in range(len(truth_N4)):  # by index: a row as an array of its own would be counted by reference
        left, top, right, bottom = truth_N4[n, X0], truth_N4[n, Y0], truth_N4[n, X1], truth_N4[n, Y1]
        width, height = min(x1, right) - max(x0, left), min(y1, bottom) - max(y0, top)
        if width > 0 and height > 0:
            common = width * height
            area = (x1 - x0) * (y1 - y0) + (right - left) * (bottom - top)
            best = max(best, common / (area - common))
    return best


@_kernel
def _place(pixel: int, pitch: int) -> tuple[int, int]:
    """Column and row in the image without its padding."""
    return int32(pixel % index(pitch)) - 1, int32(pixel // index(pitch)) - 1
