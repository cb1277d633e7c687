"""The box of a map's largest connected component at one threshold."""

from __future__ import annotations

from functools import partial

import numpy as np

from cam_lightning.functional.kernel.largest_component import find_boxes
from cam_lightning.functional.kernel.post_processing import range_rows, write_rows
from cam_lightning.functional.post_processing import PostProcessing, UpsampledMap, cut_levels


def largest_component_boxes(
    map_Mhw: np.ndarray, size_M2: np.ndarray, threshold: float, rule: PostProcessing
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (M, 4) of each map's largest 8-connected component, and which maps name no region (M,), bool.

    `map_Mhw` are raw maps, `size_M2` the height and width in pixels that each is upsampled to, to float32 rounding.
    Boxes are float32 xyxy, half-open, in those pixels. A pixel belongs to the region if its normalised value is
    above the threshold, see `cut_levels`. Largest is by pixel count; of equally large components the one that comes
    first in raster order wins. A map that names no region, by the rule or because nothing is above the threshold, is
    marked, and its box is the whole image. Releases the interpreter's lock, so it can run beside a network's forward.

    Zhou et al. 2016, section 3.2. Raises ValueError for shapes, sizes or thresholds other than these.
    """
    map_Mhw = np.ascontiguousarray(map_Mhw, dtype=np.float32)
    size_M2 = np.ascontiguousarray(size_M2, dtype=np.int64)
    if map_Mhw.ndim != 3 or 0 in map_Mhw.shape[1:] or size_M2.shape != (len(map_Mhw), 2):
        raise ValueError(f"maps must be (M, h, w), not empty, with sizes (M, 2); got {map_Mhw.shape}, {size_M2.shape}")
    if (size_M2 < 1).any():
        raise ValueError(f"an image has at least one pixel; got height and width {size_M2.min(0).tolist()}")
    rule.check_threshold(threshold)
    boxes_M4 = np.zeros((len(map_Mhw), 4), np.float32)
    boxes_M4[:, 2:] = size_M2[:, ::-1]
    without_M = rule.without_region(map_Mhw)
    if rule.upsample == "bilinear":
        _box_bilinearly(map_Mhw, size_M2, threshold, rule, without_M, boxes_M4)
        return boxes_M4, without_M
    for m in np.flatnonzero(~without_M).tolist():
        one = slice(m, m + 1)
        map_HW = rule.upsampled(map_Mhw[m], tuple(size_M2[m].tolist()))
        _box_bilinearly(map_HW[None], size_M2[one], threshold, rule, without_M[one], boxes_M4[one])
    return boxes_M4, without_M


def _box_bilinearly(
    map_Mhw: np.ndarray,
    size_M2: np.ndarray,
    threshold: float,
    rule: PostProcessing,
    without_M: np.ndarray,
    boxes_M4: np.ndarray,
) -> None:
    """Writes the boxes of maps that are not marked, and marks those that name no region; one of its size stays it."""
    end_row_M = size_M2[:, 0].cumsum()
    first_row_M = end_row_M - size_M2[:, 0]
    row_range_R2 = np.empty((size_M2[:, 0].sum(), 2), np.float32)
    range_M2 = np.empty((len(map_Mhw), 2), np.float32)
    range_rows(map_Mhw, size_M2, rule.floor, without_M, first_row_M, row_range_R2, range_M2)
    level_M = np.empty(len(map_Mhw), np.float32)
    for m in np.flatnonzero(~without_M).tolist():
        values = partial(_values, map_Mhw[m], size_M2[m], rule.floor)
        low, high = range_M2[m].tolist()
        zero_and_one = rule.zero_and_one(UpsampledMap(low, high, values))
        if zero_and_one is None:
            without_M[m] = True
        else:
            level_M[m] = cut_levels(threshold, zero_and_one)
    find_boxes(map_Mhw, size_M2, rule.floor, level_M, first_row_M, row_range_R2, without_M, boxes_M4)


def _values(map_hw: np.ndarray, size_2: np.ndarray, floor: np.float32) -> np.ndarray:
    """The upsampled, rectified map (H, W), float32, to the bit as the kernels threshold it."""
    rows = np.empty((size_2[0], size_2[1] + 2), np.float32)
    write_rows(map_hw, floor, rows)
    return rows[:, 1:-1]
