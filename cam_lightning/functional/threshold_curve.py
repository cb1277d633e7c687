"""Boxes of one map at many thresholds: what a curve of errors over thresholds is made of."""

from __future__ import annotations

import numpy as np

from cam_lightning.functional.kernel.threshold_levels import count_levels
from cam_lightning.functional.max_box_accuracy import largest_boxes
from cam_lightning.functional.post_processing import PostProcessing, cut_levels

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
    level_HW = np.zeros(size, np.uint8)
    found = rule.thresholdable(map_hw, size)
    if found is not None:
        cut_Q = cut_levels(thresholds_Q, found.zero_and_one)
        count_levels(found.rows, np.float32(found.low), np.float32(found.high), cut_Q, level_HW)
    return level_HW


def check_thresholds(thresholds_Q: np.ndarray) -> None:
    """Raises ValueError unless there are 1 to 255 thresholds, and they rise."""
    if not 1 <= len(thresholds_Q) <= MOST_THRESHOLDS or not (np.diff(thresholds_Q) > 0).all():
        raise ValueError(f"thresholds are 1 to {MOST_THRESHOLDS} numbers that rise; got {len(thresholds_Q)}")
