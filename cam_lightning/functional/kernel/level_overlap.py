"""The best overlap of any component with the ground truth at every grey level, from one pass over the pixels.

MaxBoxAccV2 asks, per threshold, whether any of the boxes of a map hits. Here every component keeps its box,
and each box that it ever has is valid for a range of levels: from where the component took it on to where it
grows or joins another. So a box is compared with the ground truth once, when it is given up, and its IoU is
entered for its range of levels.

Modes as in `functional/max_box_accuracy.py`. In `wsol` the contours of holes count as boxes, too, as in the benchmark.
"""

from __future__ import annotations

from typing import NamedTuple

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
    holds_box,
    is_outside,
    join_boxes,
)
from cam_lightning.functional.kernel.union_find import index, root

_SINCE = 4
"""Column of `stats` beside the box: the level from which on it is valid."""

_kernel = njit(nogil=True, cache=True, error_model="numpy")


class Scoring(NamedTuple):
    """How boxes are scored, and where."""

    truth_N4: np.ndarray
    """float64: half-open ground-truth boxes."""
    before: int
    """How far a box begins before the component's first pixel."""
    beyond: int
    """How far it ends after the component's last pixel; 1 makes an exact half-open box."""
    height: int
    width: int
    iou_RL: np.ndarray
    """float64 (9, 256): row r holds the best IoU of what is valid on the 2^r levels from a given one on."""


@_kernel
def sweep_components(
    pixel_P: np.ndarray,
    above_L: np.ndarray,
    ring: np.ndarray,
    top: int,
    pitch: int,
    kind_of: np.ndarray,
    step: np.ndarray,
    max_labels: int,
    scoring: Scoring,
) -> None:
    """Adds pixels from the highest level down."""
    label_of = np.empty(ring.size, np.uint32)
    parent = np.empty(max_labels + 1, np.uint32)
    stats = np.empty((max_labels + 1, 5), np.int32)
    num_labels = index(0)
    for level in range(top - 1, -1, -1):
        for i in range(above_L[level + 1], above_L[level]):
            pixel = index(pixel_P[i])
            around = index(ring[pixel])
            kind = kind_of[around]
            if kind == 0:
                num_labels += index(1)
                label = num_labels
                parent[label] = label
                begin_box(stats, label, pixel, pitch)
                stats[label, _SINCE] = level
            else:
                label = root(parent, index(label_of[pixel + step[around, 0]]))
                if kind > 1:
                    for j in range(1, kind & 7):
                        other = root(parent, index(label_of[pixel + step[around, j]]))
                        if other != label:
                            label = _join(parent, stats, label, other, level, scoring)
                    if kind & 8 and is_outside(stats, label, pixel, pitch):
                        _give_up(stats, label, level, scoring)
                        extend_box(stats, label, pixel, pitch)
            label_of[pixel] = label
    for label in range(1, num_labels + 1):
        if parent[label] == label:
            _give_up(stats, label, -1, scoring)


@_kernel
def sweep_holes(enclosed_P: np.ndarray, level_of: np.ndarray, filled: np.ndarray, pitch: int, scoring: Scoring) -> None:
    """Adds the background that is enclosed, from the lowest level up, 4-connected.

    A pixel is in a hole from its own level on until its `filled` level, at which it is reached from outside;
    the pixels of one hole have that level in common. `enclosed_P` are those pixels, the darkest first.
    """
    label_of = np.zeros(level_of.size, np.uint32)  # 0: not in a hole so far
    parent = np.empty(enclosed_P.size + 1, np.uint32)
    stats = np.empty((enclosed_P.size + 1, 5), np.int32)
    end = np.empty(enclosed_P.size + 1, np.int32)
    num_labels = index(0)
    one_row = index(pitch)
    for i in range(enclosed_P.size):
        pixel = index(enclosed_P[i])
        level = int32(level_of[pixel])
        label = index(0)
        for neighbour in (pixel - one_row, pixel - index(1), pixel + index(1), pixel + one_row):
            if label_of[neighbour] == 0:
                continue
            other = root(parent, index(label_of[neighbour]))
            if label == 0:
                label = other
            elif other != label:
                label = _join(parent, stats, label, other, level, scoring)
        if label == 0:
            num_labels += index(1)
            label = num_labels
            parent[label] = label
            end[label] = filled[pixel]
            begin_box(stats, label, pixel, pitch)
            stats[label, _SINCE] = level
        elif is_outside(stats, label, pixel, pitch):
            _give_up(stats, label, level, scoring)
            extend_box(stats, label, pixel, pitch)
        label_of[pixel] = label
    for label in range(1, num_labels + 1):
        if parent[label] == label:
            _give_up(stats, label, end[label], scoring)


@_kernel
def _give_up(
    stats: np.ndarray,
    label: int,
    level: int,
    scoring: Scoring,
) -> None:
    """Enters the IoU of a box for the levels on which it was valid, of which `level` is none any more.

    Two ranges of 2^r levels, one from each end, cover any range; `_spread` makes single levels of them.
    """
    since = stats[label, _SINCE]
    stats[label, _SINCE] = level
    if since == level:
        return
    x0, y0 = stats[label, X0] - scoring.before, stats[label, Y0] - scoring.before
    x1 = min(stats[label, X1] + scoring.beyond, scoring.width)
    y1 = min(stats[label, Y1] + scoring.beyond, scoring.height)
    best = best_overlap(x0, y0, x1, y1, scoring.truth_N4)
    if best > 0:
        low, high = (level + 1, since) if since > level else (since, level - 1)
        r = 0
        while 2 << r <= high - low + 1:
            r += 1
        for start in (low, high + 1 - (1 << r)):
            scoring.iou_RL[r, start] = max(scoring.iou_RL[r, start], best)


@_kernel
def _join(
    parent: np.ndarray,
    stats: np.ndarray,
    label: int,
    other: int,
    level: int,
    scoring: Scoring,
) -> int:
    """Joins two components and returns the label of both; a box that holds the other one stays valid."""
    if holds_box(stats, other, label):
        label, other = other, label
    _give_up(stats, other, level, scoring)
    if not holds_box(stats, label, other):
        _give_up(stats, label, level, scoring)
        join_boxes(stats, label, other)
    parent[other] = label
    return label
