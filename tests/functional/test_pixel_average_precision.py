"""Pixel average precision against a plain loop over pixels and thresholds, and the benchmark's number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_lightning.functional.pixel_average_precision import (
    count_pixels,
    peak_overlap,
    pixel_average_precision,
    precision_and_recall,
)

GRID = np.arange(0, 1, 0.1)


def slow_average_precision(scores: list[float], labels: list[int], thresholds: list[float]) -> float:
    """From the highest threshold down: precision at each, times the recall that it adds. 1.0 is one more."""
    total = labels.count(1)
    area, recall_before = 0.0, 0.0
    for threshold in [1.0, *reversed(thresholds)]:
        kept = [label for score, label in zip(scores, labels, strict=True) if score >= threshold and label <= 1]
        if kept:
            recall = kept.count(1) / total
            area += kept.count(1) / len(kept) * (recall - recall_before)
            recall_before = recall
    return area


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 7)),
    scores=st.lists(st.one_of(st.sampled_from([*GRID.tolist(), 1.0]), st.floats(0, 1)), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_definition(shape: tuple[int, int], scores: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    score_HW, mask_HW = rng.choice(scores, shape), rng.choice(np.array([0, 1, 255], np.uint8), shape)
    mask_HW[rng.integers(shape[0]), rng.integers(shape[1])] = 1
    counts_2Q = count_pixels(score_HW, mask_HW, GRID)
    slow = slow_average_precision(score_HW.ravel().tolist(), mask_HW.ravel().tolist(), GRID.tolist())
    assert pixel_average_precision(counts_2Q) == pytest.approx(slow, abs=1e-12)
    assert counts_2Q.sum() == (mask_HW <= 1).sum()


def test_by_hand() -> None:
    """At ≥ 1: one of one. At ≥ 0.5: two of three. At ≥ 0: three of five; the ignored pixel never counts."""
    score_HW = np.array([[1.0, 0.5, 0.5], [0.4, 0.0, 0.7]])
    mask_HW = np.array([[1, 1, 0], [0, 1, 255]], np.uint8)
    counts_2Q = count_pixels(score_HW, mask_HW, np.array([0.0, 0.5]))
    assert counts_2Q.tolist() == [[1, 1, 1], [1, 1, 0]]
    precision_Q, recall_Q = precision_and_recall(counts_2Q)
    assert precision_Q.tolist() == [3 / 5, 2 / 3, 1]
    assert recall_Q.tolist() == [1, 2 / 3, 1 / 3]
    assert pixel_average_precision(counts_2Q) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_a_score_belongs_to_the_bin_that_it_begins() -> None:
    """Every threshold of a fine grid, its neighbours in float64, and float32 scores; linear search."""
    fine = np.arange(0, 1, 0.001)
    around = np.concatenate([fine, np.nextafter(fine, 1), np.nextafter(fine[1:], 0), [1.0]])
    for score_1S in (around[None], around[None].astype(np.float32)):
        counts_2Q = count_pixels(score_1S, np.ones(score_1S.shape, np.uint8), fine)
        expected = [0] * (len(fine) + 1)
        for score in score_1S.ravel().tolist():
            expected[sum(edge <= score for edge in [*fine.tolist(), 1.0]) - 1] += 1
        assert counts_2Q[0].tolist() == expected


def test_an_empty_top_has_no_precision_and_adds_nothing() -> None:
    counts_2Q = count_pixels(np.array([[0.3, 0.1]]), np.array([[1, 0]], np.uint8), np.array([0.0, 0.2]))
    precision_Q, _ = precision_and_recall(counts_2Q)
    assert np.isnan(precision_Q[2])
    assert pixel_average_precision(counts_2Q) == 1.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"score_HW": np.array([[0.1, np.nan]])}, "scores must lie"),
        ({"score_HW": np.array([[0.1, 1.1]])}, "scores must lie"),
        ({"score_HW": np.array([[-0.1, 1.0]])}, "scores must lie"),
        ({"thresholds_Q": np.array([0.2])}, "scores must lie"),
        ({"thresholds_Q": np.array([0.0, 0.0])}, "rise strictly"),
        ({"thresholds_Q": np.array([0.0, 1.0])}, "rise strictly"),
        ({"thresholds_Q": np.array([])}, "rise strictly"),
        ({"mask_HW": np.ones((2, 1), np.uint8)}, "alike"),
    ],
)
def test_bad_input_is_an_error(changed: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "score_HW": np.array([[0.1, 0.2]]),
        "mask_HW": np.ones((1, 2), np.uint8),
        "thresholds_Q": np.array([0.0]),
    }
    with pytest.raises(ValueError, match=message):
        count_pixels(**(good | changed))


def test_masks_without_an_object_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one object pixel"):
        pixel_average_precision(np.array([[0, 0], [3, 4]]))


@pytest.mark.reference
def test_equals_the_benchmark(reference_data: Path) -> None:
    folder = reference_data / "wsol-reference"
    expected = json.loads((folder / "wsol_reference.json").read_text())["expected"]["pxap_percent"]
    arrays = np.load(folder / "wsol_reference.npz")
    level_SHW = arrays["levels"]
    score_SHW = np.where(level_SHW == 255, 1.0, np.where(level_SHW == 0, 0.0, (level_SHW + 0.5) / 255))
    thresholds_Q = np.arange(0, 1, 0.01)
    counts_2Q = sum(
        count_pixels(score_HW, mask_HW, thresholds_Q)
        for score_HW, mask_HW in zip(score_SHW, arrays["masks"], strict=True)
    )
    assert isinstance(counts_2Q, np.ndarray)
    assert 100 * pixel_average_precision(counts_2Q) == pytest.approx(expected, abs=1e-9)


def test_the_best_overlap_by_hand() -> None:
    """Of 4 object pixels 3 score 0.6 or more and 1 only 0.2; of background one is as high, four are at 0.2."""
    counts_2Q = np.array([[0, 1, 2, 1], [0, 4, 1, 0]])
    # At each lower edge: 4 / 9, 4 / 9, 3 / 5, 1 / 4.
    assert peak_overlap(counts_2Q) == (0.6, 2)
    assert peak_overlap(np.array([[0, 2], [3, 0]])) == (1.0, 1)
    with pytest.raises(ValueError, match="at least one object pixel"):
        peak_overlap(np.array([[0, 0], [1, 2]]))
