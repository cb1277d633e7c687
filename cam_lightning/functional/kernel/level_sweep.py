"""The largest component's box at every grey level of a score map, from one pass over its pixels.

A map of 8-bit levels has at most 255 different cuts, whatever the number of thresholds. Pixels are added from
the brightest to the darkest and joined by union-find, so each cut costs only the pixels that it adds.

Two modes:

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

from typing import Any

import numpy as np
from numba import int32, njit, uint64

from cam_lightning.functional.kernel.hole_filling import fill_holes
from cam_lightning.functional.kernel.pixel_order import (
    order_pixels,
    pad,
    ring_kind,
    ring_polygon_gain,
    ring_steps,
)

MODES = ("components", "wsol")
_SCORE, _X0, _Y0, _X1, _Y1, _FIRST = range(6)

_kernel = njit(nogil=True, cache=True, error_model="numpy")
_index: Any = uint64
"""Numba looks for negative indices, which count from the end, only where an index can be negative."""


def quantise(score_HW: np.ndarray) -> np.ndarray:
    """Grey levels (H, W), uint8: the whole part of 255 times the score, in float64.

    Raises ValueError unless the map is (H, W), not empty, and every score lies in [0, 1].
    """
    if score_HW.ndim != 2 or score_HW.size == 0:
        raise ValueError(f"a score map is (H, W) and not empty; got {score_HW.shape}")
    level_HW = np.empty(score_HW.shape, np.uint8)
    if not _quantise(score_HW, level_HW):
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
    check_levels(level_HW, mode)
    padded = pad(level_HW)
    if mode == "wsol":
        # The largest contour is never inside another, so holes may be filled; then the area is a plain sum.
        order, gain = order_pixels(fill_holes(padded)), ring_polygon_gain()
    else:
        order, gain = order_pixels(padded), np.ones(256, np.uint8)
    height, width = level_HW.shape
    boxes_L4 = np.empty((256, 4), np.int32)
    boxes_L4[order.top :] = nothing_box(height, width, mode)
    tables = ring_kind(), ring_steps(order.pitch), gain
    _sweep(*order, *tables, max_components(height, width), mode == "wsol", boxes_L4)
    if mode == "wsol":
        boxes_L4[: order.top, 2:] = np.minimum(boxes_L4[: order.top, 2:] + 1, [width, height])
    return boxes_L4


def overlaps(boxes_L4: np.ndarray, truth_N4: np.ndarray) -> np.ndarray:
    """The best IoU (L,), float64, of each box with any of the ground-truth boxes; 0 if there is none.

    Boxes are half-open. A division in float64 is correctly rounded, so an IoU of exactly 0.5 is 0.5.
    """
    iou_L = np.empty(len(boxes_L4), np.float64)
    _overlaps(boxes_L4.astype(np.float64), truth_N4.astype(np.float64).reshape(-1, 4), iou_L)
    return iou_L


def check_levels(level_HW: np.ndarray, mode: str) -> None:
    """Raises ValueError for an unknown mode or a map that is not (H, W) uint8."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
    if level_HW.ndim != 2 or level_HW.size == 0 or level_HW.dtype != np.uint8:
        raise ValueError(f"levels must be uint8 (H, W), not empty; got {level_HW.dtype} {level_HW.shape}")


def nothing_box(height: int, width: int, mode: str) -> tuple[int, int, int, int]:
    """The half-open box where no pixel is above the level."""
    return (0, 0, width, height) if mode == "components" else (0, 0, 1, 1)


def max_components(height: int, width: int) -> int:
    """How many 8-connected components can begin in an image: their first pixels do not touch each other."""
    return ((height + 1) // 2) * ((width + 1) // 2)


@_kernel
def _quantise(score_HW: np.ndarray, level_HW: np.ndarray) -> bool:
    """Whether all scores lie in [0, 1], which NaN does not; levels are written in any case."""
    num_valid = 0
    for y in range(score_HW.shape[0]):
        for x in range(score_HW.shape[1]):
            score = np.float64(score_HW[y, x])
            num_valid += int((score >= 0) & (score <= 1))
            level_HW[y, x] = np.int32(score * 255)
    return num_valid == score_HW.size


@_kernel
def _sweep(
    pixel_P: np.ndarray,
    above_L: np.ndarray,
    ring: np.ndarray,
    top: int,
    pitch: int,
    kind_of: np.ndarray,
    step: np.ndarray,
    gain_of: np.ndarray,
    max_labels: int,
    prefer_last: bool,
    boxes_L4: np.ndarray,
) -> None:
    """Adds pixels level by level and writes the half-open box of the best component after each level.

    Most pixels join the component that the pixel before them joined, so that component, `current`, has its
    score in a register until another one's turn comes; only then is it stored and compared with the best.
    Scores never fall, so the best score so far is the best of all.
    """
    label_of = np.empty(ring.size, np.uint32)
    parent = np.empty(max_labels + 1, np.uint32)
    stats = np.empty((max_labels + 1, 6), np.int32)
    rivals = np.empty(2 * pixel_P.size, np.uint32)  # at most one per pixel and one per level that has any
    num_labels, num_rivals = _index(0), 0
    current, score = _index(0), -1  # label 0 is nobody
    best, best_score = _index(0), -1
    for level in range(top - 1, -1, -1):
        if above_L[level] == above_L[level + 1]:
            boxes_L4[level] = boxes_L4[level + 1]
            continue
        for i in range(above_L[level + 1], above_L[level]):
            pixel = _index(pixel_P[i])
            around = _index(ring[pixel])
            kind = kind_of[around]
            if kind == 0:
                num_labels += _index(1)
                label = num_labels
                parent[label] = label
                _begin_box(stats, label, pixel, pitch)
                stats[label, _SCORE] = 0
            else:
                label = _index(label_of[pixel + step[around, 0]])
                if label != current:
                    label = _root(parent, label)
            if label != current:
                stats[current, _SCORE] = score
                if score >= best_score:
                    best, best_score, num_rivals = _compare(current, score, best, best_score, rivals, num_rivals)
                current, score = label, int(stats[label, _SCORE])
            if kind > 1:
                for j in range(1, kind & 7):
                    other = _root(parent, _index(label_of[pixel + step[around, j]]))
                    if other != current:
                        stats[current, _SCORE] = score
                        score += int(stats[other, _SCORE])
                        if stats[other, _SCORE] > stats[current, _SCORE]:
                            current, other = other, current
                        parent[other] = current
                        _join_boxes(stats, current, other)
                if kind & 8:
                    _extend_box(stats, current, pixel, pitch)
            label_of[pixel] = current
            score += int(gain_of[around])
        stats[current, _SCORE] = score
        if score >= best_score:
            best, best_score, num_rivals = _compare(current, score, best, best_score, rivals, num_rivals)
        if num_rivals > 0:
            best, num_rivals = _settle(parent, stats, best, best_score, rivals, num_rivals, prefer_last)
        boxes_L4[level, 0], boxes_L4[level, 1] = stats[best, _X0], stats[best, _Y0]
        boxes_L4[level, 2], boxes_L4[level, 3] = stats[best, _X1] + 1, stats[best, _Y1] + 1


@_kernel
def _compare(
    label: int, score: int, best: int, best_score: int, rivals: np.ndarray, num_rivals: int
) -> tuple[int, int, int]:
    """The best component and score so far, given one that is no worse; one as good is noted as a rival."""
    if score > best_score:
        return label, score, 0
    if label != best:
        rivals[num_rivals] = label
        num_rivals += 1
    return best, best_score, num_rivals


@_kernel
def _settle(
    parent: np.ndarray,
    stats: np.ndarray,
    best: int,
    best_score: int,
    rivals: np.ndarray,
    num_rivals: int,
    prefer_last: bool,
) -> tuple[int, int]:
    """Of equal components the one whose first pixel comes first, or last, in raster order, and those left."""
    best, num_left = _root(parent, best), 0
    for i in range(num_rivals):
        rival = _root(parent, _index(rivals[i]))
        if rival != best and stats[rival, _SCORE] == best_score:
            if (stats[rival, _FIRST] > stats[best, _FIRST]) == prefer_last:
                best, rival = rival, best
            rivals[num_left] = rival
            num_left += 1
    return best, num_left


@_kernel
def _root(parent: np.ndarray, label: int) -> int:
    above = _index(parent[label])
    while above != label:
        parent[label] = parent[above]
        label = above
        above = _index(parent[label])
    return label


@_kernel
def _begin_box(stats: np.ndarray, label: int, pixel: int, pitch: int) -> None:
    x, y = int32(pixel % _index(pitch)) - 1, int32(pixel // _index(pitch)) - 1
    stats[label, _X0], stats[label, _Y0], stats[label, _X1], stats[label, _Y1] = x, y, x, y
    stats[label, _FIRST] = pixel


@_kernel
def _extend_box(stats: np.ndarray, label: int, pixel: int, pitch: int) -> None:
    x, y = int32(pixel % _index(pitch)) - 1, int32(pixel // _index(pitch)) - 1
    stats[label, _X0], stats[label, _Y0] = min(stats[label, _X0], x), min(stats[label, _Y0], y)
    stats[label, _X1], stats[label, _Y1] = max(stats[label, _X1], x), max(stats[label, _Y1], y)
    stats[label, _FIRST] = min(stats[label, _FIRST], int32(pixel))


@_kernel
def _join_boxes(stats: np.ndarray, label: int, other: int) -> None:
    for low in (_X0, _Y0, _FIRST):
        stats[label, low] = min(stats[label, low], stats[other, low])
    for high in (_X1, _Y1):
        stats[label, high] = max(stats[label, high], stats[other, high])


@_kernel
def _overlaps(boxes_L4: np.ndarray, truth_N4: np.ndarray, iou_L: np.ndarray) -> None:
    for i in range(len(boxes_L4)):
        box = boxes_L4[i]
        iou_L[i] = 0.0
        for truth in truth_N4:
            width = min(box[2], truth[2]) - max(box[0], truth[0])
            height = min(box[3], truth[3]) - max(box[1], truth[1])
            if width > 0 and height > 0:
                common = width * height
                area = (box[2] - box[0]) * (box[3] - box[1])
                area += (truth[2] - truth[0]) * (truth[3] - truth[1])
                iou_L[i] = max(iou_L[i], common / (area - common))
