"""Largest boxes at all levels against cutting the map at each: a flood fill, and cv2 as the benchmark does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_largest_component import flood_fill_box

from cam_lightning.functional.max_box_accuracy import MODES, largest_boxes, quantise


def benchmark_boxes(level_HW: np.ndarray, level: int) -> list[list[int]]:
    """All boxes at one level as the benchmark gets them from cv2, made half-open; the largest's first."""
    height, width = level_HW.shape
    _, region = cv2.threshold(level_HW, level, 255, cv2.THRESH_BINARY)
    contours = list(cv2.findContours(region, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0])
    if not contours:
        return [[0, 0, 1, 1]]
    largest = max(range(len(contours)), key=lambda i: cv2.contourArea(contours[i]))
    contours.insert(0, contours.pop(largest))
    boxes = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        boxes.append([x, y, min(x + w, width - 1) + 1, min(y + h, height - 1) + 1])
    return boxes


def cuts(level_HW: np.ndarray) -> list[int]:
    """Levels at which something changes, or twelve of them, and both ends."""
    present = np.unique(level_HW).astype(int)
    changing = np.unique(np.concatenate([present, np.maximum(present - 1, 0)]))
    some = changing[np.linspace(0, len(changing) - 1, 12).astype(int)]
    return sorted({0, 255, *some.tolist()})


def random_levels(shape: tuple[int, int], palette: list[int], seed: int) -> np.ndarray:
    """Noise of the given levels; without any, a smooth map."""
    rng = np.random.default_rng(seed)
    if palette:
        return rng.choice(np.array(palette, np.uint8), shape)
    blurred_HW = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 1.5).reshape(shape)
    low, high = blurred_HW.min(), blurred_HW.max()
    return quantise((blurred_HW - low) / max(high - low, 1e-9))


maps = st.builds(
    random_levels,
    shape=st.tuples(st.integers(1, 16), st.integers(1, 24)),
    palette=st.sampled_from(
        [[], [0, 255], [0, 0, 0, 1], [0, 0, 1, 2], [7], [0, 0, 254, 255], list(range(256)), list(range(0, 250, 31))]
    ),
    seed=st.integers(0, 2**32 - 1),
)


@settings(max_examples=40, deadline=None)
@given(level_HW=maps)
def test_components_equal_a_flood_fill_at_each_level(level_HW: np.ndarray) -> None:
    boxes_L4 = largest_boxes(level_HW, "components")
    for level in cuts(level_HW):
        whole = [0, 0, level_HW.shape[1], level_HW.shape[0]]
        assert boxes_L4[level].tolist() == (flood_fill_box(level_HW > level) or whole)


@settings(max_examples=250, deadline=None)
@given(level_HW=maps)
def test_wsol_equals_the_benchmark_at_each_level(level_HW: np.ndarray) -> None:
    boxes_L4 = largest_boxes(level_HW, "wsol")
    for level in cuts(level_HW):
        assert boxes_L4[level].tolist() == benchmark_boxes(level_HW, level)[0]


@pytest.mark.parametrize("mode", MODES)
def test_boxes_change_only_at_levels_that_the_map_has(mode: str) -> None:
    level_HW = np.array([[10, 200, 10, 10], [10, 10, 10, 90]], np.uint8)
    boxes_L4 = largest_boxes(level_HW, mode)
    assert [len(np.unique(boxes_L4[a:b], axis=0)) for a, b in ((0, 10), (10, 90), (90, 200), (200, 256))] == [1] * 4


def test_where_the_modes_differ() -> None:
    """A diagonal line of four pixels has no polygon area, three pixels around a corner have one half.

    In the benchmark their box ends a pixel later at the bottom; at the right it ends at the image's edge.
    """
    level_HW = np.array(
        [
            [9, 0, 0, 0, 0, 0],
            [0, 9, 0, 0, 9, 9],
            [0, 0, 9, 0, 0, 9],
            [0, 0, 0, 9, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ],
        np.uint8,
    )
    assert largest_boxes(level_HW, "components")[0].tolist() == [0, 0, 4, 4]
    assert largest_boxes(level_HW, "wsol")[0].tolist() == [4, 1, 6, 4]


def test_of_equal_components_the_modes_take_the_first_and_the_last() -> None:
    level_HW = np.array([[0, 0, 0, 5], [5, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 0]], np.uint8)
    assert largest_boxes(level_HW, "components")[0].tolist() == [3, 0, 4, 1]
    assert largest_boxes(level_HW, "wsol")[0].tolist() == [2, 2, 4, 4]


def test_more_pixels_than_sixteen_bits_hold() -> None:
    """70,000 lone pixels, then a bar beyond index 65,535 and as wide."""
    level_HW = np.zeros((5, 140_000), np.uint8)
    level_HW[0, ::2] = 255
    level_HW[2, 1000:139_000] = 128
    level_HW[4, 139_990:] = 200
    boxes_L4 = largest_boxes(level_HW, "components")
    assert boxes_L4[200].tolist() == [0, 0, 1, 1]
    assert boxes_L4[199].tolist() == [139_990, 4, 140_000, 5]
    assert boxes_L4[127].tolist() == [1000, 2, 139_000, 3]
