"""Errors at all thresholds against the run's own metrics at one threshold after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from toy_localization import with_label_map

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.build import choice
from cam_lightning.contracts import GroundTruth, Localization
from cam_lightning.functional.box import centre_box
from cam_lightning.functional.largest_component import largest_component_boxes
from cam_lightning.functional.post_processing import PostProcessing
from cam_lightning.functional.threshold_curve import boxes_at_thresholds
from cam_lightning.metric.gt_known_error import GtKnownError
from cam_lightning.metric.localization_error import LocalizationError
from cam_lightning.metric.threshold_curve import COST, KEYS, ThresholdCurve


class Box:
    """As `box=largest_component`, in the original's pixels."""

    def __call__(self, *_: Any) -> Any:
        raise AssertionError("a curve sweeps, and does not box at one threshold")

    def sweep(self, map_hw: torch.Tensor, size: tuple[int, int], input_size: Any, thresholds_Q: Any) -> torch.Tensor:
        return torch.from_numpy(boxes_at_thresholds(map_hw.numpy(), size, thresholds_Q, PostProcessing())).float()


def at_threshold(evaluation: Any, threshold: float) -> tuple[Localization, GroundTruth]:
    """The same maps, boxed at one threshold."""
    localization, truth = evaluation

    def boxes(map_Bhw: torch.Tensor) -> torch.Tensor:
        boxes_B4, _ = largest_component_boxes(map_Bhw.numpy(), truth.size_B2.numpy(), threshold, PostProcessing())
        return torch.from_numpy(boxes_B4)

    ranked = torch.stack([boxes(localization.map_BThw[:, t]) for t in range(5)], dim=1)
    proposals = localization.proposals._replace(boxes_BP4=ranked)
    return localization._replace(
        proposals=proposals, label=localization.label._replace(box_B4=boxes(localization.label_map_Bhw))
    ), truth


@pytest.fixture(scope="module")
def mapped(evaluation: Any) -> Any:
    """Blurred true boxes as maps of the true class, so that thresholds matter; other classes have noise."""
    localization, truth = evaluation
    generator = torch.Generator().manual_seed(0)
    label_map_Bhw = torch.zeros(120, 6, 8)
    for b, (height, width) in enumerate(truth.size_B2.tolist()):
        x0, y0, x1, y1 = truth.boxes_BN4[b, 0].tolist()
        ys, xs = (torch.arange(6) + 0.5) * height / 6, (torch.arange(8) + 0.5) * width / 8
        inside = ((ys >= y0) & (ys < y1))[:, None] & ((xs >= x0) & (xs < x1))
        label_map_Bhw[b] = inside + 0.6 * torch.rand(6, 8, generator=generator)
    label_map_Bhw[7] = 1.0
    label_map_Bhw[9, 2, 2] = torch.nan
    map_BThw = torch.randn(120, 5, 6, 8, generator=generator)
    is_label_BT = localization.classes_BT == truth.label_B[:, None]
    map_BThw[is_label_BT] = label_map_Bhw[is_label_BT.any(1)]
    return evaluation._replace(localization=with_label_map(localization._replace(map_BThw=map_BThw), label_map_Bhw))


def test_every_error_is_that_of_a_run_at_this_threshold(mapped: Any) -> None:
    curve = ThresholdCurve(Box(), fixed=[0.07, 0.3], interval=0.125)
    curve.update(*mapped)
    values = curve.compute()
    assert curve.curves["threshold"] == [0.0, 0.07, 0.125, 0.25, 0.3, 0.375, 0.5, 0.625, 0.75, 0.875]
    slow: dict[str, list[float]] = {key: [] for key in KEYS}
    for threshold in curve.curves["threshold"]:
        own: dict[str, float] = {}
        for metric in (LocalizationError(), GtKnownError()):
            metric.update(*at_threshold(mapped, threshold))
            own |= metric.compute()
        for key in KEYS:
            slow[key].append(own[key])
    for key in KEYS:
        assert curve.curves[key] == slow[key]
        assert (values[f"{key}@0.07"], values[f"{key}@0.3"]) == (slow[key][1], slow[key][4])
        assert values[f"{key}@oracle"] == min(slow[key])
        best = curve.curves["threshold"][slow[key].index(min(slow[key]))]
        assert values[f"{key}@oracle/threshold"] == best
        assert len(set(slow[key])) > 4, "a threshold mistaken for its neighbour shows"
    assert not any("selected" in key for key in values)
    assert curve.count("num_images") == int((mapped.truth.num_boxes_B > 0).sum()) < 120


def test_what_was_best_on_one_split_is_reported_on_another(mapped: Any) -> None:
    here, there = mapped.rows(range(12)), mapped.rows(range(12, 120))
    curve = ThresholdCurve(Box(), interval=0.02)
    curve.update(*here)
    curve.compute()
    chosen = curve.chosen()
    assert set(chosen) == {*KEYS, COST}
    assert chosen[COST] == int((here.truth.num_boxes_B > 0).sum())
    curve.reset()
    curve.carry(chosen)
    curve.update(*there)
    values = curve.compute()
    for key in KEYS:
        assert values[f"{key}@selected/threshold"] == chosen[key]
        assert values[f"{key}@selected"] == curve.curves[key][curve.curves["threshold"].index(chosen[key])]
        assert values[f"{key}@selected"] >= values[f"{key}@oracle"]
    assert any(values[f"{key}@selected"] > values[f"{key}@oracle"] for key in KEYS)


def test_a_threshold_off_the_grid_can_be_carried(mapped: Any) -> None:
    """Chosen by a run whose own it was, and reported by an evaluation at another."""
    curve, wanted = ThresholdCurve(Box(), interval=0.25), ThresholdCurve(Box(), fixed=[0.123], interval=0.25)
    for key in KEYS:
        curve.carry({"gt_known_error": 0.5, key: 0.123})
        curve.reset()
        curve.update(*mapped)
        values = curve.compute()
        assert values[f"{key}@selected/threshold"] == 0.123
        wanted.reset()
        wanted.update(*mapped)
        assert values[f"{key}@selected"] == wanted.compute()[f"{key}@0.123"]


@pytest.mark.parametrize(("own", "thresholds"), [
    (0.155, [0.0, 0.155, 0.25, 0.3, 0.5, 0.75]), (0.25, [0.0, 0.25, 0.3, 0.5, 0.75]),
])  # fmt: skip
def test_the_boxes_own_threshold_is_a_candidate(mapped: Any, own: float, thresholds: list[float]) -> None:
    """So that no run is better than its oracle."""

    class Own(Box):
        threshold = own

    curve = ThresholdCurve(Own(), interval=0.25)
    curve.update(*mapped)
    values = curve.compute()
    assert curve.curves["threshold"] == thresholds
    metric = GtKnownError()
    metric.update(*at_threshold(mapped, own))
    error = metric.compute()["gt_known_error"]
    assert curve.curves["gt_known_error"][thresholds.index(own)] == error >= values["gt_known_error@oracle"]


@pytest.mark.parametrize(("scale", "own"), [(10.0, 6.5), (-10.0, -6.5)])
def test_a_level_of_raw_maps_is_a_candidate_too(mapped: Any, scale: float, own: float) -> None:
    """It lies outside of 0..1, where all that the grid has of logits may be far from any good box."""
    localization, truth = mapped
    box = LargestComponent(own, normalise="none")
    label_map_Bhw = localization.label_map_Bhw * scale
    boxed = box(label_map_Bhw[:, None], truth.size_B2, (6, 8)).boxes_BP4[:, 0]
    label = localization.label._replace(map_Bhw=label_map_Bhw, box_B4=boxed)
    curve, metric = ThresholdCurve(box, interval=0.25), GtKnownError()
    for each in (curve, metric):
        each.update(localization._replace(label=label), truth)
    values, error = curve.compute(), metric.compute()["gt_known_error"]
    thresholds = curve.curves["threshold"]
    assert thresholds == sorted([0.0, 0.25, 0.3, 0.5, 0.75, own])
    assert curve.curves["gt_known_error"][thresholds.index(own)] == error
    assert values["gt_known_error@oracle"] <= error
    assert values["gt_known_error@oracle/threshold"] == own


def test_any_split_over_batches_and_ranks_is_bit_identical(mapped: Any, check_every_split: Any) -> None:
    def update(metric: ThresholdCurve, rows: Sequence[int]) -> None:
        metric.update(*mapped.rows(rows))

    def make() -> ThresholdCurve:
        metric = ThresholdCurve(Box(), interval=0.1)
        metric.carry({"localization_error/top5": 0.123})
        return metric

    check_every_split(make, update, 120)


def without_boxes(evaluation: Any) -> Any:
    """The same images, of which no box is known."""
    truth = evaluation.truth
    return evaluation._replace(
        truth=truth._replace(boxes_BN4=truth.boxes_BN4[:, :0], num_boxes_B=torch.zeros_like(truth.num_boxes_B))
    )


def test_a_threshold_is_chosen_where_no_box_is_to_be_seen(mapped: Any) -> None:
    """To the bit that of the same images with their boxes, and by a slow loop the best against centred boxes."""
    here, there = mapped.rows(range(60)), mapped.rows(range(60, 120))
    chosen = []
    for images in (here, without_boxes(here)):
        curve = ThresholdCurve(Box(), fixed=[], interval=0.125, label_free=0.6)
        curve.begin("val", [])
        curve.update(*images)
        curve.compute()
        chosen.append({key: value for key, value in curve.chosen().items() if key.endswith("@label_free")})
    assert chosen[0] == chosen[1]

    centred = here.truth._replace(boxes_BN4=centre_box(here.truth.size_B2, 0.6)[:, None])
    centred = centred._replace(num_boxes_B=torch.ones_like(here.truth.num_boxes_B))
    errors: dict[str, list[float]] = {key: [] for key in KEYS}
    grid = [i / 8 for i in range(8)]
    for threshold in grid:
        localization, _ = at_threshold(here, threshold)
        for metric in (LocalizationError(), GtKnownError()):
            metric.update(localization, centred)
            for key, value in metric.compute().items():
                errors.get(key, []).append(value)
    assert chosen[0] == {f"{key}@label_free": grid[errors[key].index(min(errors[key]))] for key in KEYS}

    curve = ThresholdCurve(Box(), fixed=[], interval=0.125, label_free=0.6)
    curve.begin("test", [])
    curve.carry(chosen[1])
    curve.update(*there)
    values = curve.compute()
    for key in KEYS:
        assert values[f"{key}@label_free/threshold"] == chosen[1][f"{key}@label_free"]
        assert values[f"{key}@label_free"] == curve.curves[key][grid.index(chosen[1][f"{key}@label_free"])]
        assert {f"{key}@label_free", f"{key}@label_free/threshold"} <= curve.specs().keys()
        assert f"{key}@selected" not in values, "no box was there to select by"
    assert curve.count("num_pseudo") == 0, "nothing is chosen on the test split"


def test_a_centred_box_that_the_whole_image_hits_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """0.7² is below an overlap of 0.5, 0.71² above it; the shipped share lies below."""
    shipped = choice("metric", "threshold_curve").threshold_curve.label_free
    for share, is_warned in ((0.7, False), (0.71, True), (1, True), (shipped, False)):
        caplog.clear()
        ThresholdCurve(Box(), label_free=share)
        assert ("always hits" in caplog.text) == is_warned, share


def test_a_label_free_choice_does_not_depend_on_batches_or_ranks(mapped: Any, check_every_split: Any) -> None:
    class Told(ThresholdCurve):
        def compute(self) -> dict[str, float]:
            super().compute()
            return self.chosen()

    def make() -> Told:
        metric = Told(Box(), interval=0.1, label_free=0.65)
        metric.begin("val", [])
        return metric

    check_every_split(make, lambda metric, rows: metric.update(*mapped.rows(rows)), 120)


def test_nothing_to_report(mapped: Any) -> None:
    """Without any known box, and with boxes that no threshold makes."""
    curve = ThresholdCurve(Box())
    curve.update(*mapped.rows((mapped.truth.num_boxes_B == 0).nonzero()[:, 0].tolist()))
    without = ThresholdCurve(lambda *_: None)  # type: ignore[arg-type, return-value]
    without.update(*mapped)
    assert curve.compute() == without.compute() == {}
    assert curve.curves == without.curves == {}


@pytest.mark.parametrize("options", [{"interval": 0.0}, {"interval": 0.001}, {"fixed": [1.0]}, {"fixed": [-0.1]}])
def test_bad_options_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        ThresholdCurve(Box(), **options)
