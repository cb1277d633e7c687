"""The best overlap of any component with the ground truth at every grey level, from one pass over the pixels.

MaxBoxAccV2 asks, per threshold, whether any of the boxes of a map hits. Here every component keeps its box,
and each box that it ever has is valid for a range of levels: from where the component took it on to where it
grows or joins another. So a box is compared with the ground truth once, when it is given up, and its IoU is
entered for its range of levels.

Modes as in `level_sweep`. In `wsol` the contours of holes count as boxes, too, as in the benchmark.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int32, njit, uint64

from cam_lightning.functional.kernel.hole_filling import fill_holes
from cam_lightning.functional.kernel.level_sweep import check_levels, max_components, nothing_box, overlaps
from cam_lightning.functional.kernel.pixel_order import order_pixels, pad, ring_kind, ring_steps

_X0, _Y0, _X1, _Y1, _SINCE = range(5)

_kernel = njit(nogil=True, cache=True, error_model="numpy")
_index: Any = uint64
"""Numba looks for negative indices, which count from the end, only where an index can be negative."""


class _Scoring(NamedTuple):
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


def best_overlaps(level_HW: np.ndarray, truth_N4: np.ndarray, mode: str) -> np.ndarray:
    """The best IoU (256,), float64: row L is over all components of the pixels above level L and all truths.

    `level_HW` are uint8 levels, `truth_N4` half-open boxes in the map's pixels; without any, all IoU are 0.
    Raises ValueError for an unknown mode or a map that is not (H, W) uint8.
    """
    check_levels(level_HW, mode)
    height, width = level_HW.shape
    truth_N4 = truth_N4.astype(np.float64).reshape(-1, 4)
    padded = pad(level_HW)
    order = order_pixels(padded)
    # In the benchmark a box ends one pixel beyond its component, and its area counts one more.
    scoring = _Scoring(truth_N4, 0, 1 if mode == "components" else 2, height, width, np.zeros((9, 256)))
    _sweep_components(*order, ring_kind(), ring_steps(order.pitch), max_components(height, width), scoring)
    if mode == "wsol":
        filled = fill_holes(padded).ravel()
        enclosed_P = np.flatnonzero(filled != padded.ravel())
        enclosed_P = enclosed_P[np.argsort(padded.ravel()[enclosed_P], kind="stable")]
        # A hole's contour runs over the pixels around it.
        _sweep_holes(enclosed_P, padded.ravel(), filled, order.pitch, scoring._replace(before=1, beyond=3))
    iou_L = _spread(scoring.iou_RL)
    iou_L[order.top :] = overlaps(np.array([nothing_box(height, width, mode)]), truth_N4)
    return iou_L


@_kernel
def _sweep_components(
    pixel_P: np.ndarray,
    above_L: np.ndarray,
    ring: np.ndarray,
    top: int,
    pitch: int,
    kind_of: np.ndarray,
    step: np.ndarray,
    max_labels: int,
    scoring: _Scoring,
) -> None:
    """Adds pixels from the highest level down."""
    label_of = np.empty(ring.size, np.uint32)
    parent = np.empty(max_labels + 1, np.uint32)
    stats = np.empty((max_labels + 1, 5), np.int32)
    num_labels = _index(0)
    for level in range(top - 1, -1, -1):
        for i in range(above_L[level + 1], above_L[level]):
            pixel = _index(pixel_P[i])
            around = _index(ring[pixel])
            kind = kind_of[around]
            if kind == 0:
                num_labels += _index(1)
                label = num_labels
                parent[label] = label
                _begin_box(stats, label, pixel, pitch, level)
            else:
                label = _root(parent, _index(label_of[pixel + step[around, 0]]))
                if kind > 1:
                    for j in range(1, kind & 7):
                        other = _root(parent, _index(label_of[pixel + step[around, j]]))
                        if other != label:
                            label = _join(parent, stats, label, other, level, scoring)
                    if kind & 8 and _is_outside(stats, label, pixel, pitch):
                        _give_up(stats, label, level, scoring)
                        _extend_box(stats, label, pixel, pitch)
            label_of[pixel] = label
    for label in range(1, num_labels + 1):
        if parent[label] == label:
            _give_up(stats, label, -1, scoring)


@_kernel
def _sweep_holes(
    enclosed_P: np.ndarray, level_of: np.ndarray, filled: np.ndarray, pitch: int, scoring: _Scoring
) -> None:
    """Adds the background that is enclosed, from the lowest level up, 4-connected.

    A pixel is in a hole from its own level on until its `filled` level, at which it is reached from outside;
    the pixels of one hole have that level in common. `enclosed_P` are those pixels, the darkest first.
    """
    label_of = np.zeros(level_of.size, np.uint32)  # 0: not in a hole so far
    parent = np.empty(enclosed_P.size + 1, np.uint32)
    stats = np.empty((enclosed_P.size + 1, 5), np.int32)
    end = np.empty(enclosed_P.size + 1, np.int32)
    num_labels = _index(0)
    one_row = _index(pitch)
    for i in range(enclosed_P.size):
        pixel = _index(enclosed_P[i])
        level = int32(level_of[pixel])
        label = _index(0)
        for neighbour in (pixel - one_row, pixel - _index(1), pixel + _index(1), pixel + one_row):
            if label_of[neighbour] == 0:
                continue
            other = _root(parent, _index(label_of[neighbour]))
            if label == 0:
                label = other
            elif other != label:
                label = _join(parent, stats, label, other, level, scoring)
        if label == 0:
            num_labels += _index(1)
            label = num_labels
            parent[label] = label
            end[label] = filled[pixel]
            _begin_box(stats, label, pixel, pitch, level)
        elif _is_outside(stats, label, pixel, pitch):
            _give_up(stats, label, level, scoring)
            _extend_box(stats, label, pixel, pitch)
        label_of[pixel] = label
    for label in range(1, num_labels + 1):
        if parent[label] == label:
            _give_up(stats, label, end[label], scoring)


@_kernel
def _give_up(
    stats: np.ndarray,
    label: int,
    level: int,
    scoring: _Scoring,
) -> None:
    """Enters the IoU of a box for the levels on which it was valid, of which `level` is none any more.

    Two ranges of 2^r levels, one from each end, cover any range; `_spread` makes single levels of them.
    """
    since = stats[label, _SINCE]
    stats[label, _SINCE] = level
    if since == level:
        return
    x0, y0 = stats[label, _X0] - scoring.before, stats[label, _Y0] - scoring.before
    x1 = min(stats[label, _X1] + scoring.beyond, scoring.width)
    y1 = min(stats[label, _Y1] + scoring.beyond, scoring.height)
    best = 0.0
    for truth in scoring.truth_N4:
        width, height = min(x1, truth[2]) - max(x0, truth[0]), min(y1, truth[3]) - max(y0, truth[1])
        if width > 0 and height > 0:
            common = width * height
            area = (x1 - x0) * (y1 - y0) + (truth[2] - truth[0]) * (truth[3] - truth[1])
            best = max(best, common / (area - common))
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
    scoring: _Scoring,
) -> int:
    """Joins two components and returns the label of both; a box that holds the other one stays valid."""
    if _holds(stats, other, label):
        label, other = other, label
    _give_up(stats, other, level, scoring)
    if not _holds(stats, label, other):
        _give_up(stats, label, level, scoring)
        stats[label, _X0] = min(stats[label, _X0], stats[other, _X0])
        stats[label, _Y0] = min(stats[label, _Y0], stats[other, _Y0])
        stats[label, _X1] = max(stats[label, _X1], stats[other, _X1])
        stats[label, _Y1] = max(stats[label, _Y1], stats[other, _Y1])
    parent[other] = label
    return label


@_kernel
def _holds(stats: np.ndarray, label: int, other: int) -> bool:
    low = stats[label, _X0] <= stats[other, _X0] and stats[label, _Y0] <= stats[other, _Y0]
    return low and stats[label, _X1] >= stats[other, _X1] and stats[label, _Y1] >= stats[other, _Y1]


@_kernel
def _begin_box(stats: np.ndarray, label: int, pixel: int, pitch: int, level: int) -> None:
    x, y = int32(pixel % _index(pitch)) - 1, int32(pixel // _index(pitch)) - 1
    stats[label, _X0], stats[label, _Y0], stats[label, _X1], stats[label, _Y1] = x, y, x, y
    stats[label, _SINCE] = level


@_kernel
def _is_outside(stats: np.ndarray, label: int, pixel: int, pitch: int) -> bool:
    x, y = int32(pixel % _index(pitch)) - 1, int32(pixel // _index(pitch)) - 1
    outside_x = x < stats[label, _X0] or x > stats[label, _X1]
    return outside_x or y < stats[label, _Y0] or y > stats[label, _Y1]


@_kernel
def _extend_box(stats: np.ndarray, label: int, pixel: int, pitch: int) -> None:
    x, y = int32(pixel % _index(pitch)) - 1, int32(pixel // _index(pitch)) - 1
    stats[label, _X0], stats[label, _Y0] = min(stats[label, _X0], x), min(stats[label, _Y0], y)
    stats[label, _X1], stats[label, _Y1] = max(stats[label, _X1], x), max(stats[label, _Y1], y)


@_kernel
def _root(parent: np.ndarray, label: int) -> int:
    above = _index(parent[label])
    while above != label:
        parent[label] = parent[above]
        label = above
        above = _index(parent[label])
    return label


def _spread(iou_RL: np.ndarray) -> np.ndarray:
    """Hands each range of levels down to its two halves, until ranges are single levels."""
    for r in range(8, 0, -1):
        half = 1 << (r - 1)
        np.maximum(iou_RL[r - 1], iou_RL[r], out=iou_RL[r - 1])
        np.maximum(iou_RL[r - 1, half:], iou_RL[r, :-half], out=iou_RL[r - 1, half:])
    return iou_RL[0]
