"""PxAP as a metric: the function's number from any split of the images, and the benchmark's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cam_lightning.metric.pixel_average_precision import PixelAveragePrecision


def random_images(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    sizes = [(4, 7), (6, 5), (1, 3)]
    masks = [rng.choice(np.array([0, 1, 255], np.uint8), sizes[i % 3]) for i in range(count)]
    return [np.floor(rng.random(mask_HW.shape) * 10) / 10 + 0.05 for mask_HW in masks], masks


def test_equals_all_pixels_sorted_at_once() -> None:
    """Scores lie halfway between thresholds, so the curve has a point at every distinct score."""
    scores, masks = random_images(30)
    metric = PixelAveragePrecision(interval=0.1)
    metric.update(scores, masks)
    score_P, mask_P = (np.concatenate([one.ravel() for one in some]) for some in (scores, masks))
    area, recall_before = 0.0, 0.0
    for threshold in np.unique(score_P)[::-1]:
        kept = (score_P >= threshold) & (mask_P <= 1)
        recall = (kept & (mask_P == 1)).sum() / (mask_P == 1).sum()
        area += (kept & (mask_P == 1)).sum() / kept.sum() * (recall - recall_before)
        recall_before = recall
    assert metric.compute() == {"pixel_average_precision": pytest.approx(area, abs=1e-12)}


def test_any_split_over_batches_and_ranks_is_bit_identical(check_every_split: Any) -> None:
    scores, masks = random_images(60)

    def update(metric: PixelAveragePrecision, rows: Sequence[int]) -> None:
        metric.update([scores[i] for i in rows], [masks[i] for i in rows])

    check_every_split(PixelAveragePrecision, update, 60)


def test_without_images_there_is_nothing_to_report() -> None:
    metric = PixelAveragePrecision()
    metric.update([], [])
    assert metric.compute() == {}


def test_a_mask_is_missing() -> None:
    with pytest.raises(ValueError, match="shorter"):
        PixelAveragePrecision().update([np.zeros((2, 2))], [])


def test_bad_interval_is_an_error() -> None:
    with pytest.raises(ValueError, match="interval"):
        PixelAveragePrecision(interval=0)


@pytest.mark.reference
def test_equals_the_benchmark(reference_data: Path) -> None:
    folder = reference_data / "wsol-reference"
    arrays = np.load(folder / "wsol_reference.npz")
    metric = PixelAveragePrecision(interval=0.01)
    for level_HW, mask_HW in zip(arrays["levels"], arrays["masks"], strict=True):
        score_HW = np.where(level_HW == 255, 1.0, np.where(level_HW == 0, 0.0, (level_HW + 0.5) / 255))
        metric.update([score_HW], [mask_HW])
    expected = json.loads((folder / "wsol_reference.json").read_text())["expected"]["pxap_percent"]
    assert 100 * metric.compute()["pixel_average_precision"] == pytest.approx(expected, abs=1e-9)
