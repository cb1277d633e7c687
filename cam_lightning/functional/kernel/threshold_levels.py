"""How many of many levels each pixel of a map is above."""

from __future__ import annotations

import numpy as np
from numba import njit

_CELLS = 1024

_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def count_levels(rows: np.ndarray, low: np.float32, high: np.float32, cut_Q: np.ndarray, level_HW: np.ndarray) -> None:
    """Counts for each pixel of rows[:, 1:-1], which lie between low and high, the cuts that it is above; those rise."""
    # A table says where to begin; the two loops make the count exact, whatever the table's rounding.
    # In float64, where even the smallest range of float32 has an inverse.
    per_value = _CELLS / (np.float64(high) - np.float64(low))
    start = np.empty(_CELLS + 1, np.uint8)
    count = 0
    for cell in range(_CELLS + 1):
        while count < len(cut_Q) and np.float64(low) + cell / per_value > cut_Q[count]:
            count += 1
        start[cell] = count
    for y in range(level_HW.shape[0]):
        row = rows[y]
        for x in range(level_HW.shape[1]):
            value = row[x + 1]
            above = int(start[min(int((np.float64(value) - np.float64(low)) * per_value), _CELLS)])
            while above < len(cut_Q) and value > cut_Q[above]:
                above += 1
            while above > 0 and not value > cut_Q[above - 1]:
                above -= 1
            level_HW[y, x] = above
