"""Boxes that grow, against minima and maxima over all their pixels; overlaps against counted pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_lightning.functional.kernel.component_box import (
    begin_box,
    best_overlap,
    extend_box,
    holds_box,
    is_outside,
    join_boxes,
)
from cam_lightning.functional.kernel.union_find import index

HEIGHT, WIDTH = 7, 11
PITCH = WIDTH + 2
pixels = st.lists(st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)), min_size=1, max_size=6)


def box_of(places: list[tuple[int, int]]) -> list[int]:
    xs, ys = zip(*places, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


def grow(stats: np.ndarray, label: int, places: list[tuple[int, int]]) -> None:
    for i, (x, y) in enumerate(places):
        pixel = index((y + 1) * PITCH + x + 1)
        if i == 0:
            begin_box(stats, index(label), pixel, PITCH)
        else:
            before = stats[label, :4].tolist()
            outside = is_outside(stats, index(label), pixel, PITCH)
            extend_box(stats, index(label), pixel, PITCH)
            assert outside == (stats[label, :4].tolist() != before)


@settings(max_examples=80, deadline=None)
@given(first=pixels, second=pixels)
def test_boxes_are_those_of_all_pixels(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    stats = np.full((3, 5), -9, np.int32)
    grow(stats, 1, first)
    grow(stats, 2, second)
    assert stats[1:, :4].tolist() == [box_of(first), box_of(second)]
    assert holds_box(stats, index(1), index(2)) == (box_of(first + second) == box_of(first))
    join_boxes(stats, index(1), index(2))
    assert stats[:, :4].tolist() == [[-9] * 4, box_of(first + second), box_of(second)]
    assert (stats[:, 4] == -9).all(), "what else a row holds is not the box's"


@settings(max_examples=80, deadline=None)
@given(box=pixels, truths=st.lists(pixels, max_size=3))
def test_the_best_overlap_counts_pixels(box: list[tuple[int, int]], truths: list[list[tuple[int, int]]]) -> None:
    def covered(corners: list[int]) -> set[tuple[int, int]]:
        x0, y0, x1, y1 = corners
        return {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)}

    ours = covered(box_of(box))
    expected = max((len(ours & t) / len(ours | t) for t in (covered(box_of(truth)) for truth in truths)), default=0.0)
    half_open = [np.add(box_of(places), [0, 0, 1, 1]) for places in (box, *truths)]
    assert best_overlap(*half_open[0].tolist(), np.array(half_open[1:], np.float64).reshape(-1, 4)) == expected
