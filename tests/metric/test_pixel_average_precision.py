"""PxAP as a metric: the function's number from any split of the images, and the benchmark's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_localization import with_label_map

from cam_lightning.metric.pixel_average_precision import PixelAveragePrecision


@pytest.fixture
def masked(evaluation: Any) -> Any:
    """The random evaluation with maps of few values and masks of 8 × 12 pixels, some of them ignored."""
    rng = np.random.default_rng(0)
    map_Bhw = torch.from_numpy(2 * rng.integers(1, 10, (120, 8, 12)) + 1).float()
    map_Bhw[:, 0, :2] = torch.tensor([0.0, 20.0])
    map_Bhw[3] = 0.1
    map_Bhw[5, 0, 0] = torch.nan
    mask_BHW = torch.from_numpy(rng.choice(np.array([0, 1, 255], np.uint8), (120, 8, 12)))
    return evaluation._replace(
        localization=with_label_map(evaluation.localization, map_Bhw),
        truth=evaluation.truth._replace(mask_BHW=mask_BHW),
    )


def test_equals_all_pixels_sorted_at_once(masked: Any) -> None:
    """Scores lie halfway between thresholds, so the curve has a point at every distinct score."""
    metric = PixelAveragePrecision(interval=0.1)
    metric.update(*masked)
    map_BHW, mask_BHW = masked.localization.label_map_Bhw.clone(), masked.truth.mask_BHW
    map_BHW[[3, 5]] = 0  # they name no region
    score_P, mask_P = (map_BHW / 20).double().numpy().ravel(), mask_BHW.numpy().ravel()
    area, recall_before = 0.0, 0.0
    for threshold in np.unique(score_P)[::-1]:
        kept = (score_P >= threshold) & (mask_P <= 1)
        recall = (kept & (mask_P == 1)).sum() / (mask_P == 1).sum()
        area += (kept & (mask_P == 1)).sum() / kept.sum() * (recall - recall_before)
        recall_before = recall
    values = metric.compute()
    assert values["pixel_average_precision"] == pytest.approx(area, abs=1e-12)
    overlaps = []
    for threshold in metric.thresholds_Q:
        above = (score_P >= threshold) & (mask_P <= 1)
        overlaps.append((above & (mask_P == 1)).sum() / (above | (mask_P == 1)).sum())
    assert values["peak_iou"] == pytest.approx(max(overlaps), abs=1e-12)
    assert values["peak_iou/threshold"] == metric.thresholds_Q[int(np.argmax(overlaps))]
    assert values.keys() == metric.specs().keys()
    assert metric.count("num_images") == 120
    assert int(metric.pixels.sum()) == int((mask_BHW <= 1).sum()), "ignored pixels count nowhere"


def test_maps_are_upsampled_to_the_masks(evaluation: Any) -> None:
    """Of 2 × 2 cells the right ones; the mask of 4 × 6 pixels is its right half: every pixel above 0.5 is object."""
    localization, truth = evaluation.rows([0])
    mask_BHW = torch.zeros(1, 4, 6, dtype=torch.uint8)
    mask_BHW[..., 3:] = 1
    localization = with_label_map(localization, torch.tensor([[[-3.0, 5.0], [-3.0, 5.0]]]))
    for upsample in ("nearest", "bilinear", "bicubic"):
        metric = PixelAveragePrecision(upsample=upsample)
        metric.update(localization, truth._replace(mask_BHW=mask_BHW))
        values = metric.compute()
        assert (values["pixel_average_precision"], values["peak_iou"]) == (1.0, 1.0)
        assert int(metric.pixels.sum()) == 24


def test_any_split_over_batches_and_ranks_is_bit_identical(masked: Any, check_every_split: Any) -> None:
    def update(metric: PixelAveragePrecision, rows: Sequence[int]) -> None:
        metric.update(*masked.rows(rows))

    check_every_split(PixelAveragePrecision, update, 120)


def test_without_masks_there_is_nothing_to_report(evaluation: Any) -> None:
    metric = PixelAveragePrecision()
    metric.update(*evaluation)
    assert metric.compute() == {}


def test_bad_options_are_errors() -> None:
    with pytest.raises(ValueError, match="interval"):
        PixelAveragePrecision(interval=0)
    with pytest.raises(ValueError, match="bicubic"):
        PixelAveragePrecision(upsample="area")


@pytest.mark.reference
def test_equals_the_benchmark(reference_data: Path) -> None:
    folder = reference_data / "wsol-reference"
    arrays = np.load(folder / "wsol_reference.npz")
    metric = PixelAveragePrecision(interval=0.01)
    for level_HW, mask_HW in zip(arrays["levels"], arrays["masks"], strict=True):
        # The reference's own score of a level, in float64: as `update` would count it if maps were not float32.
        score_HW = np.where(level_HW == 255, 1.0, np.where(level_HW == 0, 0.0, (level_HW + 0.5) / 255))
        metric.add("pixels", torch.from_numpy(metric.pixels_of(score_HW, mask_HW)))
        metric.add("num_images", 1)
    expected = json.loads((folder / "wsol_reference.json").read_text())["expected"]["pxap_percent"]
    assert 100 * metric.compute()["pixel_average_precision"] == pytest.approx(expected, abs=1e-9)
