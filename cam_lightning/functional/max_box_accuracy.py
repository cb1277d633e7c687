"""Boxes and overlaps of a score map at every grey level: what MaxBoxAcc and MaxBoxAccV2 count from.

A map of 8-bit levels has at most 255 different cuts, whatever the number of thresholds; kernels go through all of
them in one pass over its pixels. Two modes:

    components   largest by pixel count, 8-connected; of equal ones the first in raster order. The box is
                 exact; where nothing is above the level it is the whole image. Zhou et al. 2016, section 3.2.
    wsol         what the WSOL benchmark's evaluator counts: largest by the area of the polygon that joins the
                 contour's pixel centres, holes included; of equal ones the last in raster order (cv2 lists
                 contours so). One pixel too many at the right and bottom edge unless the image ends there;
                 where nothing is above the level, the one pixel at the origin. Choe et al. 2020,
                 clovaai/wsolevaluation, evaluation.py.

On 150 real-sized maps the best accuracy at IoU 0.3, 0.5, 0.7 was 92.0, 77.3, 36.7 % in `components`, 92.0, 77.3,
35.3 % in `wsol`; at no threshold did the hits differ by more than 6 (`wsol-reference`, thresholds 0.001 apart).

All boxes here are half-open. The benchmark adds 1 to each side of inclusive corners, so areas agree.
"""

from __future__ import annotations

import numpy as np

from cam_lightning.functional.kernel.hole_filling import fill_holes
from cam_lightning.functional.kernel.level_overlap import Scoring, sweep_components, sweep_holes
from cam_lightning.functional.kernel.level_sweep import overlap_boxes, quantise_scores, sweep_levels
from cam_lightning.functional.kernel.pixel_order import (
    max_components,
    order_pixels,
    pad,
    ring_kind,
    ring_polygon_gain,
    ring_steps,
)

MODES = ("components", "wsol")


def quantise(score_HW: np.ndarray) -> np.ndarray:
    """Grey levels (H, W), uint8: the whole part of 255 times the score, in float64.

    Raises ValueError unless the map is (H, W), not empty, and every score lies in [0, 1].
    """
    if score_HW.ndim != 2 or score_HW.size == 0:
        raise ValueError(f"a score map is (H, W) and not empty; got {score_HW.shape}")
    level_HW = np.empty(score_HW.shape, np.uint8)
    if not quantise_scores(score_HW, level_HW):
        raise ValueError(f"scores lie in [0, 1]; got {score_HW.min()} to {score_HW.max()}")
    return level_HW


def levels_of(thresholds_Q: np.ndarray, top: int) -> np.ndarray:
    """The level (Q,), int64, at which each threshold in [0, 1] cuts a map whose highest level is `top`.

    A pixel is kept if its level is above ⌊threshold · top⌋, in both modes.
    """
    thresholds_Q = np.asarray(thresholds_Q, np.float64)
    if not ((thresholds_Q >= 0) & (thresholds_Q <= 1)).all():
        raise ValueError("thresholds are shares of the highest level, in [0, 1]")
    return (thresholds_Q * top).astype(np.int64)


def wsol_truth(corners_N4: np.ndarray, size: tuple[int, int], map_size: tuple[int, int]) -> np.ndarray:
    """Ground-truth boxes (N, 4) as the WSOL benchmark has them on its score maps, half-open, float64.

    `corners_N4` are x0, y0, x1, y1 as its metadata lists them, `size` and `map_size` the height and width of
    the image and of the map. Corners are scaled and cut to whole numbers, and areas count one more per side.
    """
    corners_N4 = np.asarray(corners_N4, np.float64).reshape(-1, 4)
    new_4 = np.array([map_size[1], map_size[0]] * 2, np.float64)
    old_4 = np.array([size[1], size[0]] * 2, np.float64)
    return np.trunc(corners_N4 * new_4 / old_4) + np.array([0, 0, 1, 1])


def largest_boxes(level_HW: np.ndarray, mode: str) -> np.ndarray:
    """Half-open boxes (256, 4), int32: row L is the largest component's box among the pixels above level L.

    `level_HW` are uint8 levels. Raises ValueError for an unknown mode or a map that is not (H, W) uint8.
    """
    _check_levels(level_HW, mode)
    padded = pad(level_HW)
    if mode == "wsol":
        # The largest contour is never inside another, so holes may be filled; then the area is a plain sum.
        order, gain = order_pixels(fill_holes(padded)), ring_polygon_gain()
    else:
        order, gain = order_pixels(padded), np.ones(256, np.uint8)
    height, width = level_HW.shape
    boxes_L4 = np.empty((256, 4), np.int32)
    boxes_L4[order.top :] = _nothing_box(height, width, mode)
    tables = ring_kind(), ring_steps(order.pitch), gain
    sweep_levels(*order, *tables, max_components(height, width), mode == "wsol", boxes_L4)
    if mode == "wsol":
        boxes_L4[: order.top, 2:] = np.minimum(boxes_L4[: order.top, 2:] + 1, [width, height])
    return boxes_L4


def best_overlaps(level_HW: np.ndarray, truth_N4: np.ndarray, mode: str) -> np.ndarray:
    """The best IoU (256,), float64: row L is over all components of the pixels above level L and all truths.

    `level_HW` are uint8 levels, `truth_N4` half-open boxes in the map's pixels; without any, all IoU are 0.
    Raises ValueError for an unknown mode or a map that is not (H, W) uint8.
    """
    _check_levels(level_HW, mode)
    height, width = level_HW.shape
    truth_N4 = truth_N4.astype(np.float64).reshape(-1, 4)
    padded = pad(level_HW)
    order = order_pixels(padded)
    # In the benchmark a box ends one pixel beyond its component, and its area counts one more.
    scoring = Scoring(truth_N4, 0, 1 if mode == "components" else 2, height, width, np.zeros((9, 256)))
    sweep_components(*order, ring_kind(), ring_steps(order.pitch), max_components(height, width), scoring)
    if mode == "wsol":
        filled = fill_holes(padded).ravel()
        enclosed_P = np.flatnonzero(filled != padded.ravel())
        enclosed_P = enclosed_P[np.argsort(padded.ravel()[enclosed_P], kind="stable")]
        # A hole's contour runs over the pixels around it.
        sweep_holes(enclosed_P, padded.ravel(), filled, order.pitch, scoring._replace(before=1, beyond=3))
    iou_L = _spread(scoring.iou_RL)
    iou_L[order.top :] = overlaps(np.array([_nothing_box(height, width, mode)]), truth_N4)
    return iou_L


def overlaps(boxes_L4: np.ndarray, truth_N4: np.ndarray) -> np.ndarray:
    """The best IoU (L,), float64, of each box with any of the ground-truth boxes; 0 if there is none.

    Boxes are half-open. A division in float64 is correctly rounded, so an IoU of exactly 0.5 is 0.5.
    """
    iou_L = np.empty(len(boxes_L4), np.float64)
    overlap_boxes(boxes_L4.astype(np.float64), truth_N4.astype(np.float64).reshape(-1, 4), iou_L)
    return iou_L


def _check_levels(level_HW: np.ndarray, mode: str) -> None:
    """Raises ValueError for an unknown mode or a map that is not (H, W) uint8."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
    if level_HW.ndim != 2 or level_HW.size == 0 or level_HW.dtype != np.uint8:
        raise ValueError(f"levels must be uint8 (H, W), not empty; got {level_HW.dtype} {level_HW.shape}")


def _nothing_box(height: int, width: int, mode: str) -> tuple[int, int, int, int]:
    """The half-open box where no pixel is above the level."""
    return (0, 0, width, height) if mode == "components" else (0, 0, 1, 1)


def _spread(iou_RL: np.ndarray) -> np.ndarray:
    """Hands each range of levels down to its two halves, until ranges are single levels."""
    for r in range(8, 0, -1):
        half = 1 << (r - 1)
        np.maximum(iou_RL[r - 1], iou_RL[r], out=iou_RL[r - 1])
        np.maximum(iou_RL[r - 1, half:], iou_RL[r, :-half], out=iou_RL[r - 1, half:])
    return iou_RL[0]
