"""What boxes and sweeps need of raw maps before they can be thresholded: their fate, their rows, their range."""

from __future__ import annotations

import numpy as np
from numba import float32, njit

from cam_lightning.functional.kernel.bilinear import blend_row, cells_and_weights, range_of_row, widen

LARGEST_USABLE = np.float32(1e38)
"""Values beyond it count as not finite: sums of two weighted values could overflow."""

# No `fastmath`: a fused multiply-add would make boxes depend on the processor.
_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def mark_without_region(map_Mhw: np.ndarray, floor: np.float32, needs_positive: bool, without_M: np.ndarray) -> None:
    """Marks raw maps with a value that is not finite, constant ones, and, if asked, those that are nowhere positive."""
    for m in range(len(map_Mhw)):
        low, high = float32(np.inf), float32(-np.inf)
        finite = True
        for value in map_Mhw[m].flat:
            finite &= abs(value) <= LARGEST_USABLE  # not true of NaN
            raised = max(value, floor)
            low, high = min(low, raised), max(high, raised)
        without_M[m] = not finite or low == high or (needs_positive and high <= 0)


@_kernel
def range_rows(
    map_Mhw: np.ndarray,
    size_M2: np.ndarray,
    floor: np.float32,
    without_M: np.ndarray,
    first_row_M: np.ndarray,
    row_range_R2: np.ndarray,
    range_M2: np.ndarray,
) -> None:
    """Writes the least and the greatest value of each map, upsampled and raised to the floor, and of its rows.

    Rows of all maps are one after the other, those of map m from `first_row_M[m]` on. Maps without region are left
    out.
    """
    for m in range(len(map_Mhw)):
        if without_M[m]:
            continue
        H, W = size_M2[m]
        y_cell, y_weight = cells_and_weights(map_Mhw.shape[1], H)
        wide_hW = widen(map_Mhw[m], W)
        row = np.empty(W + 2, np.float32)
        row_bits = row.view(np.int32)
        row_range_H2 = row_range_R2[first_row_M[m] : first_row_M[m] + H]
        row_range_bits = row_range_H2.view(np.int32)
        low, high = float32(np.inf), float32(-np.inf)
        for y in range(H):
            blend_row(wide_hW, y, y_cell, y_weight, floor, row)
            range_of_row(row_bits, row_range_bits[y])
            low, high = min(low, row_range_H2[y, 0]), max(high, row_range_H2[y, 1])
        range_M2[m, 0], range_M2[m, 1] = low, high


@_kernel
def write_rows(map_hw: np.ndarray, floor: np.float32, rows: np.ndarray) -> tuple[np.float32, np.float32]:
    """Writes the map, upsampled and raised to the floor, into rows[:, 1:-1]; returns its least and greatest value."""
    y_cell, y_weight = cells_and_weights(map_hw.shape[0], len(rows))
    wide_hW = widen(map_hw, rows.shape[1] - 2)
    row_range = np.empty(2, np.float32)
    low, high = float32(np.inf), float32(-np.inf)
    for y in range(len(rows)):
        blend_row(wide_hW, y, y_cell, y_weight, floor, rows[y])
        range_of_row(rows[y].view(np.int32), row_range.view(np.int32))
        low, high = min(low, row_range[0]), max(high, row_range[1])
    return low, high
