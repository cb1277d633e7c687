"""Boxes of one map at many thresholds: what a curve of errors over thresholds is made of."""

from __future__ import annotations

import numpy as np

from cam_lightning.functional.kernel.post_processing import write_rows
from cam_lightning.functional.kernel.threshold_levels import count_levels
from cam_lightning.functional.max_box_accuracy import largest_boxes
from cam_lightning.functional.post_processing import PostProcessing, UpsampledMap, cut_levels

MOST_THRESHOLDS = 255


def boxes_at_thresholds(
    map_hw: np.ndarray, size: tuple[int, int], thresholds_Q: np.ndarray, rule: PostProcessing
) -> np.ndarray:
    """Boxes (Q, 4), int32: to the last bit those of `largest_component_boxes` at each threshold by itself.

    Options and errors are those of `threshold_levels`.
    """
    return largest_boxes(threshold_levels(map_hw, size, thresholds_Q, rule), "components")[: len(thresholds_Q)]


def threshold_levels(
    map_hw: np.ndarray, size: tuple[int, int], thresholds_Q: np.ndarray, rule: PostProcessing
) -> np.ndarray:
    """How many of the thresholds each pixel of the upsampled map is above: uint8 (H, W), frame of `size`.

    So the pixels above threshold q are those with a number above q. `size` is a height and width. A map that names no
    region is above none. Raises ValueError for a map that is not (h, w), and for thresholds that are not 1 to 255
    numbers that rise.
    """
    check_thresholds(thresholds_Q)
    if map_hw.ndim != 2 or map_hw.size == 0:
        raise ValueError(f"a map is (h, w) and not empty; got {map_hw.shape}")
    map_hw = np.ascontiguousarray(map_hw, np.float32)
    level_HW = np.zeros(size, np.uint8)
    if rule.without_region(map_hw[None])[0]:
        return level_HW
    if rule.upsample != "bilinear":
        map_hw = rule.upsampled(map_hw, size)
    rows = np.empty((size[0], size[1] + 2), np.float32)
    low, high = write_rows(map_hw, rule.floor, rows)
    zero_and_one = rule.zero_and_one(UpsampledMap(float(low), float(high), lambda: rows[:, 1:-1]))
    if zero_and_one is not None:
        count_levels(rows, np.float32(low), np.float32(high), cut_levels(thresholds_Q, zero_and_one), level_HW)
    return level_HW


def check_thresholds(thresholds_Q: np.ndarray) -> None:
    """Raises ValueError unless there are 1 to 255 thresholds, and they rise."""
    if not 1 <= len(thresholds_Q) <= MOST_THRESHOLDS or not (np.diff(thresholds_Q) > 0).all():
        raise ValueError(f"thresholds are 1 to {MOST_THRESHOLDS} numbers that rise; got {len(thresholds_Q)}")
