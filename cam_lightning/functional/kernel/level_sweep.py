"""The largest component's box at every grey level of a map, from one pass over its pixels.

Pixels are added from the brightest to the darkest and joined by union-find, so each cut costs only the pixels that it
adds. Modes as in `functional/max_box_accuracy.py`.
"""

from __future__ import annotations

import numpy as np
from numba import int32, njit

from cam_lightning.functional.kernel.component_box import (
    X0,
    X1,
    Y0,
    Y1,
    begin_box,
    best_overlap,
    extend_box,
    join_boxes,
)
from cam_lightning.functional.kernel.union_find import index, root

_SCORE, _FIRST = 4, 5
"""Columns of `stats` beside the box: the component's score, and its first pixel in raster order."""

_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def quantise_scores(score_HW: np.ndarray, level_HW: np.ndarray) -> bool:
    """Whether all scores lie in [0, 1], which NaN does not; levels are written in any case."""
    num_valid = 0
    for y in range(score_HW.shape[0]):
        for x in range(score_HW.shape[1]):
            score = np.float64(score_HW[y, x])
            num_valid += int((score >= 0) & (score <= 1))
            level_HW[y, x] = np.int32(score * 255)
    return num_valid == score_HW.size


@_kernel
def sweep_levels(
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
    num_labels, num_rivals = index(0), 0
    current, score = index(0), -1  # label 0 is nobody
    best, best_score = index(0), -1
    for level in range(top - 1, -1, -1):
        if above_L[level] == above_L[level + 1]:
            boxes_L4[level] = boxes_L4[level + 1]
            continue
        for i in range(above_L[level + 1], above_L[level]):
            pixel = index(pixel_P[i])
            around = index(ring[pixel])
            kind = kind_of[around]
            if kind == 0:
                num_labels += index(1)
                label = num_labels
                parent[label] = label
                begin_box(stats, label, pixel, pitch)
                stats[label, _SCORE], stats[label, _FIRST] = 0, pixel
            else:
                label = index(label_of[pixel + step[around, 0]])
                if label != current:
                    label = root(parent, label)
            if label != current:
                stats[current, _SCORE] = score
                if score >= best_score:
                    best, best_score, num_rivals = _compare(current, score, best, best_score, rivals, num_rivals)
                current, score = label, int(stats[label, _SCORE])
            if kind > 1:
                for j in range(1, kind & 7):
                    other = root(parent, index(label_of[pixel + step[around, j]]))
                    if other != current:
                        stats[current, _SCORE] = score
                        score += int(stats[other, _SCORE])
                        if stats[other, _SCORE] > stats[current, _SCORE]:
                            current, other = other, current
                        parent[other] = current
                        join_boxes(stats, current, other)
                        stats[current, _FIRST] = min(stats[current, _FIRST], stats[other, _FIRST])
                if kind & 8:
                    extend_box(stats, current, pixel, pitch)
                    stats[current, _FIRST] = min(stats[current, _FIRST], int32(pixel))
            label_of[pixel] = current
            score += int(gain_of[around])
        stats[current, _SCORE] = score
        if score >= best_score:
            best, best_score, num_rivals = _compare(current, score, best, best_score, rivals, num_rivals)
        if num_rivals > 0:
            best, num_rivals = _settle(parent, stats, best, best_score, rivals, num_rivals, prefer_last)
        boxes_L4[level, 0], boxes_L4[level, 1] = stats[best, X0], stats[best, Y0]
        boxes_L4[level, 2], boxes_L4[level, 3] = stats[best, X1] + 1, stats[best, Y1] + 1


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
    best, num_left = root(parent, best), 0
    for i in range(num_rivals):
        rival = root(parent, index(rivals[i]))
        if rival != best and stats[rival, _SCORE] == best_score:
            if (stats[rival, _FIRST] > stats[best, _FIRST]) == prefer_last:
                best, rival = rival, best
            rivals[num_left] = rival
            num_left += 1
    return best, num_left


@_kernel
def overlap_boxes(boxes_L4: np.ndarray, truth_N4: np.ndarray, iou_L: np.ndarray) -> None:
    """Writes the best IoU of each box with any of the true ones; all float64."""
    for i in range(len(boxes_L4)):
        box = boxes_L4[i]
        iou_L[i] = best_overlap(box[0], box[1], box[2], box[3], truth_N4)
