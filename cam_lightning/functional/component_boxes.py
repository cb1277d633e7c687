"""Boxes of all connected components of a map at one threshold, and how strongly a map speaks for a box."""

from __future__ import annotations

import cv2
import numpy as np

from cam_lightning.functional.post_processing import PostProcessing, cut_levels, normalised


def normalised_map(map_hw: np.ndarray, size: tuple[int, int], rule: PostProcessing) -> np.ndarray | None:
    """The map (h, w) as it is thresholded: float32 (H, W), upsampled and normalised; None where it names no region.

    Values below that which becomes 0 are 0; where a rule leaves values raw, they are all as they are.
    """
    found = rule.thresholdable(map_hw, size)
    if found is None:
        return None
    value_HW = found.value_HW.copy()
    return normalised(value_HW, found.zero_and_one, found.high) if rule.is_share else value_HW


def component_boxes(map_hw: np.ndarray, size: tuple[int, int], threshold: float, rule: PostProcessing) -> np.ndarray:
    """Boxes (P, 4) of the 8-connected components of a map above a threshold, the one of most pixels first.

    float32 xyxy, half-open, in the pixels of a photo of height and width `size`; none where the map names no region.
    Of equally large components the one that comes first in raster order is first. The first box is that of
    `largest_component_boxes`. Zhou et al. 2016, section 3.2.
    """
    rule.check_threshold(threshold)
    found = rule.thresholdable(map_hw, size)
    if found is None:
        return np.zeros((0, 4), np.float32)
    is_above_HW = found.value_HW > cut_levels(threshold, found.zero_and_one)
    _, label_HW, stats_L5, _ = cv2.connectedComponentsWithStats(is_above_HW.astype(np.uint8), connectivity=8)
    label_L, first_pixel_L = np.unique(label_HW, return_index=True)
    is_component_L = label_L > 0  # 0 is what lies below
    label_L, first_pixel_L = label_L[is_component_L], first_pixel_L[is_component_L]
    order_L = np.lexsort((first_pixel_L, -stats_L5[label_L, cv2.CC_STAT_AREA]))
    box_P4 = stats_L5[label_L[order_L], :4].astype(np.float32)  # left, top, width, height
    box_P4[:, 2:] += box_P4[:, :2]
    return box_P4


def mean_in_boxes(value_HW: np.ndarray, boxes_P4: np.ndarray) -> np.ndarray:
    """The mean (P,), float32, of a map over the pixels of half-open boxes on it; at least over one pixel."""
    H, W = value_HW.shape
    means = []
    for x0, y0, x1, y1 in np.round(boxes_P4).astype(int).tolist():
        left, top = min(max(x0, 0), W - 1), min(max(y0, 0), H - 1)
        means.append(value_HW[top : max(y1, top + 1), left : max(x1, left + 1)].mean(dtype=np.float64))
    return np.array(means, np.float32)
