"""Bilinear upsampling row by row, inside the kernels that threshold what it gives.

As `torch.nn.functional.interpolate` does it (`align_corners=False`), to float32 rounding: along the rows first.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, njit

# No `fastmath`: a fused multiply-add would make boxes depend on the processor.
_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def cells_and_weights(num_cells: int, num_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """The two map cells (2, pixels) that each pixel lies between, and their weights, both in float32."""
    cell, weight = np.empty((2, num_pixels), np.int64), np.empty((2, num_pixels), np.float32)
    scale = float32(num_cells) / float32(num_pixels)
    for i in range(num_pixels):
        position = max(scale * (float32(i) + float32(0.5)) - float32(0.5), float32(0))
        first = min(int(position), num_cells - 1)
        fraction = min(position - float32(first), float32(1))
        cell[0, i], cell[1, i] = first, min(first + 1, num_cells - 1)
        weight[0, i], weight[1, i] = float32(1) - fraction, fraction
    return cell, weight


@_kernel
def widen(map_hw: np.ndarray, W: int) -> np.ndarray:
    """Upsamples along the rows: the gathers happen once per map cell row, not once per pixel row."""
    h, w = map_hw.shape
    cell, weight = cells_and_weights(w, W)
    wide_hW = np.empty((h, W), np.float32)
    for i in range(h):
        for x in range(W):
            wide_hW[i, x] = weight[0, x] * map_hw[i, cell[0, x]] + weight[1, x] * map_hw[i, cell[1, x]]
    return wide_hW


@_kernel
def blend_row(
    wide_hW: np.ndarray, y: int, cell: np.ndarray, weight: np.ndarray, floor: np.float32, row: np.ndarray
) -> None:
    """Writes pixel row y into row[1:-1]."""
    upper, lower, out = wide_hW[cell[0, y]], wide_hW[cell[1, y]], row[1:]
    upper_weight, lower_weight = weight[0, y], weight[1, y]
    for x in range(wide_hW.shape[1]):
        out[x] = max(upper_weight * upper[x] + lower_weight * lower[x], floor)


@_kernel
def range_of_row(row_bits: np.ndarray, range_bits: np.ndarray) -> None:
    """Writes the smallest and the largest value of row[1:-1], all given as the bits of float32."""
    low, high = int32(2**31 - 1), int32(-(2**31))
    for x in range(1, len(row_bits) - 1):
        key = _order_key(row_bits[x])
        low, high = min(low, key), max(high, key)
    range_bits[0], range_bits[1] = _order_key(low), _order_key(high)


@_kernel
def _order_key(bits: np.int32) -> np.int32:
    """An int32 that orders as the float32 of these bits does, and back: it is its own inverse.

    The compiler vectorises the maximum of integers, and that of floats, because of NaN, it does not.
    """
    return int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))
