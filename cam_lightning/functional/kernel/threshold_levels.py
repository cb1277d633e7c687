"""Which of many thresholds each pixel of a map is above: what one sweep needs to box the map at all of them.

`largest_component_boxes` cuts a map at one threshold. Here every pixel gets the number of thresholds that it is
above, and the pixels above threshold q are those with a number above q. So row q of
`level_sweep.largest_boxes(…, "components")` is, to the last bit, the box that threshold q gives by itself.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import float32, njit

from cam_lightning.functional.kernel.bilinear import blend_row, cells_and_weights, is_usable, range_of_row, widen
from cam_lightning.functional.largest_component import NORMALISATIONS, UPSAMPLINGS, cut_level

MOST_THRESHOLDS = 255
_CELLS = 1024
_MAX = NORMALISATIONS.index("max")

_kernel = njit(nogil=True, cache=True, error_model="numpy")


def threshold_levels(
    map_hw: np.ndarray,
    size: tuple[int, int],
    thresholds_Q: np.ndarray,
    normalise: str = "max",
    rectify: bool = False,
    upsample: str = "bilinear",
) -> np.ndarray:
    """How many of the thresholds each pixel of the upsampled map is above: uint8 (H, W), frame of `size`.

    The rule is that of `largest_component_boxes`: upsample to height and width `size` → rectify or not →
    normalise → strictly above. A map that names no region is above none. Raises ValueError for a map that is not
    (h, w), for options other than those, and for thresholds that are not 1 to 255 numbers that rise.
    """
    check_thresholds(thresholds_Q)
    if map_hw.ndim != 2 or map_hw.size == 0:
        raise ValueError(f"a map is (h, w) and not empty; got {map_hw.shape}")
    if normalise not in NORMALISATIONS or upsample not in UPSAMPLINGS:
        raise ValueError(
            f"a map is normalised by {', '.join(NORMALISATIONS)} and upsampled by {', '.join(UPSAMPLINGS)}; "
            f"got {normalise!r} and {upsample!r}"
        )
    map_hw = np.ascontiguousarray(map_hw, np.float32)
    if upsample != "bilinear":
        map_11hw = torch.from_numpy(map_hw)[None, None]
        map_hw = torch.nn.functional.interpolate(map_11hw, size, mode=upsample)[0, 0].numpy()
    level_HW = np.zeros(size, np.uint8)
    floor = np.float32(0) if rectify else np.float32(-np.inf)
    thresholds_Q = np.asarray(thresholds_Q, np.float64)
    _count_thresholds(map_hw, thresholds_Q, NORMALISATIONS.index(normalise), floor, level_HW)
    return level_HW


def check_thresholds(thresholds_Q: np.ndarray) -> None:
    """Raises ValueError unless there are 1 to 255 thresholds, and they rise."""
    if not 1 <= len(thresholds_Q) <= MOST_THRESHOLDS or not (np.diff(thresholds_Q) > 0).all():
        raise ValueError(f"thresholds are 1 to {MOST_THRESHOLDS} numbers that rise; got {len(thresholds_Q)}")


@_kernel
def _count_thresholds(
    map_hw: np.ndarray, thresholds_Q: np.ndarray, normalise: int, floor: np.float32, level_HW: np.ndarray
) -> None:
    if not is_usable(map_hw):
        return
    H, W = level_HW.shape
    y_cell, y_weight = cells_and_weights(map_hw.shape[0], H)
    wide_hW = widen(map_hw, W)
    rows = np.empty((H, W + 2), np.float32)
    row_range = np.empty(2, np.float32)
    low, high = float32(np.inf), float32(-np.inf)
    for y in range(H):
        blend_row(wide_hW, y, y_cell, y_weight, floor, rows[y])
        range_of_row(rows[y].view(np.int32), row_range.view(np.int32))
        low, high = min(low, row_range[0]), max(high, row_range[1])
    if low == high or (normalise == _MAX and high <= 0):
        return
    cut_Q = np.empty(len(thresholds_Q), np.float32)
    for q in range(len(thresholds_Q)):
        cut_Q[q] = cut_level(thresholds_Q[q], low, high, normalise)
    # A table says where to begin; the two loops make the count exact, whatever the table's rounding.
    # In float64, where even the smallest range of float32 has an inverse.
    per_value = _CELLS / (np.float64(high) - np.float64(low))
    start = np.empty(_CELLS + 1, np.uint8)
    count = 0
    for cell in range(_CELLS + 1):
        while count < len(cut_Q) and np.float64(low) + cell / per_value > cut_Q[count]:
            count += 1
        start[cell] = count
    for y in range(H):
        row = rows[y]
        for x in range(W):
            value = row[x + 1]
            above = int(start[min(int((np.float64(value) - np.float64(low)) * per_value), _CELLS)])
            while above < len(cut_Q) and value > cut_Q[above]:
                above += 1
            while above > 0 and not value > cut_Q[above - 1]:
                above -= 1
            level_HW[y, x] = above
