"""What lies around the sweeps of MaxBoxAcc: grey levels, cuts, overlaps and the benchmark's true boxes, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cam_lightning.functional.max_box_accuracy import (
    best_overlaps,
    largest_boxes,
    levels_of,
    overlaps,
    quantise,
    wsol_truth,
)


def test_quantise_cuts_off_in_float64() -> None:
    score_13 = np.array([[0.0, 1.0, 128 / 255]])
    assert quantise(score_13).tolist() == [[0, 255, int(128 / 255 * 255)]]
    thirds_12 = np.array([[1 / 3, 2 / 3]], np.float32)
    assert quantise(thirds_12).tolist() == [[int(float(v) * 255) for v in thirds_12[0]]]


def test_levels_of_thresholds() -> None:
    """0.29 · 100 is 28.999… in float64, and the benchmark's `int` makes 28 of it."""
    assert levels_of(np.array([0.0, 0.29, 0.5, 0.999, 1.0]), 100).tolist() == [0, 28, 50, 99, 100]


def test_overlap_by_hand() -> None:
    boxes_34 = np.array([[0, 0, 4, 2], [2, 0, 4, 2], [8, 8, 9, 9]])
    assert overlaps(boxes_34, np.array([[2, 1, 6, 2], [0, 0, 2, 2]])).tolist() == [0.5, 2 / 6, 0]
    assert overlaps(boxes_34, np.zeros((0, 4))).tolist() == [0, 0, 0]


def test_benchmark_truth_is_cut_to_whole_pixels_of_the_map() -> None:
    """A photo 500 wide and 375 high; 333 · 224 / 500 = 149.18, 374 · 224 / 375 = 223.4."""
    assert wsol_truth(np.array([[0, 10, 333, 374]]), (375, 500), (224, 224)).tolist() == [[0, 5, 150, 224]]


@pytest.mark.parametrize(
    "score",
    [np.array([[0.5, np.nan]]), np.array([[-0.1, 1]]), np.array([[0, 1.1]]), np.zeros(3), np.zeros((0, 3))],
)
def test_scores_outside_the_unit_interval_are_an_error(score: np.ndarray) -> None:
    with pytest.raises(ValueError, match="score"):
        quantise(score)


def test_bad_input_is_an_error() -> None:
    truth_14 = np.array([[0, 0, 1, 1]])
    for sweep in (largest_boxes, lambda level_HW, mode: best_overlaps(level_HW, truth_14, mode)):
        with pytest.raises(ValueError, match="components, wsol"):
            sweep(np.zeros((2, 2), np.uint8), "contours")
        with pytest.raises(ValueError, match="uint8"):
            sweep(np.zeros((2, 2), np.int64), "wsol")
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        levels_of(np.array([0.5, 1.01]), 255)
