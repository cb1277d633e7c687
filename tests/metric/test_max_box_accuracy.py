"""MaxBoxAcc and V2 against cutting every map at every threshold, and against the benchmark's hit counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from toy_localization import localization_of, with_label_map

from cam_lightning.contracts import GroundTruth, Localization
from cam_lightning.functional.post_processing import PostProcessing, score_map
from cam_lightning.metric.max_box_accuracy import MaxBoxAccuracy, MaxBoxAccuracyV2


@pytest.fixture(scope="module")
def mapped(evaluation: Any) -> Any:
    """The random evaluation with maps of the true class, two of them without a region."""
    map_Bhw = torch.randn(120, 5, 6, generator=torch.Generator().manual_seed(0))
    map_Bhw[3] = 0.1
    map_Bhw[5, 0, 0] = torch.nan
    return evaluation._replace(localization=with_label_map(evaluation.localization, map_Bhw))


def slow_accuracies(
    evaluation: Any, overlap: Callable[..., float], thresholds: list[float], iou: float, any_box: bool
) -> list[float]:
    """One cut per image and threshold; components by scipy, the largest by counting."""
    hits, counted = [0] * len(thresholds), 0
    localization, truth = evaluation
    for b, (height, width) in enumerate(truth.size_B2.tolist()):
        boxes = truth.boxes_BN4[b, : truth.num_boxes_B[b]].tolist()
        counted += bool(boxes)
        score_HW = score_map(localization.label_map_Bhw[b], (height, width), PostProcessing(normalise="minmax"))
        level_HW = np.floor(score_HW * 255).astype(int)
        for q, threshold in enumerate(thresholds):
            labels_HW, count = ndimage.label(level_HW > int(threshold * level_HW.max()), np.ones((3, 3)))
            if count == 0:
                found = [[0, 0, width, height]]
            else:
                sizes = [int((labels_HW == i + 1).sum()) for i in range(count)]
                found = [[x.start, y.start, x.stop, y.stop] for y, x in ndimage.find_objects(labels_HW)]
                found = found if any_box else [found[sizes.index(max(sizes))]]
            hits[q] += any(overlap(box, true_box) >= iou for box in found for true_box in boxes)
    return [count / counted for count in hits]


def test_equals_a_plain_loop(mapped: Any, overlap: Any) -> None:
    metric = MaxBoxAccuracy(iou_threshold=0.3, interval=0.25)
    metric.update(*mapped)
    slow = slow_accuracies(mapped, overlap, [0.0, 0.25, 0.5, 0.75], 0.3, any_box=False)
    assert metric.accuracy().tolist() == [slow]
    best = max(slow)
    assert metric.compute() == {
        "max_box_accuracy": best,
        "max_box_accuracy/threshold": 0.25 * slow.index(best),
    }
    assert metric.count("num_images") == int((mapped.truth.num_boxes_B > 0).sum()) < 120
    assert len(set(slow)) >= 3  # so that a threshold mistaken for its neighbour shows


def test_further_iou_thresholds_are_counted_beside_and_change_nothing(mapped: Any, overlap: Any) -> None:
    metric, plain = MaxBoxAccuracy(0.3, [0.2, 0.5], interval=0.25), MaxBoxAccuracy(0.3, interval=0.25)
    for one in (metric, plain):
        one.update(*mapped)
    values = metric.compute()
    assert plain.compute().items() <= values.items()
    for iou in (0.2, 0.5):
        slow = slow_accuracies(mapped, overlap, [0.0, 0.25, 0.5, 0.75], iou, any_box=False)
        assert values[f"max_box_accuracy/iou_{iou}"] == max(slow)
        assert values[f"max_box_accuracy/iou_{iou}/threshold"] == 0.25 * slow.index(max(slow))


def test_v2_equals_a_plain_loop(mapped: Any, overlap: Any) -> None:
    metric = MaxBoxAccuracyV2(iou_thresholds=[0.2, 0.5], interval=0.25)
    metric.update(*mapped)
    slow = [slow_accuracies(mapped, overlap, [0.0, 0.25, 0.5, 0.75], iou, any_box=True) for iou in (0.2, 0.5)]
    assert metric.accuracy().tolist() == slow
    assert metric.compute() == {
        "max_box_accuracy_v2": pytest.approx((max(slow[0]) + max(slow[1])) / 2),
        "max_box_accuracy_v2/iou_0.2": max(slow[0]),
        "max_box_accuracy_v2/iou_0.2/threshold": 0.25 * slow[0].index(max(slow[0])),
        "max_box_accuracy_v2/iou_0.5": max(slow[1]),
        "max_box_accuracy_v2/iou_0.5/threshold": 0.25 * slow[1].index(max(slow[1])),
    }


@pytest.mark.parametrize("make", [MaxBoxAccuracy, MaxBoxAccuracyV2])
def test_any_split_over_batches_and_ranks_is_bit_identical(mapped: Any, check_every_split: Any, make: Any) -> None:
    def update(metric: Any, rows: Sequence[int]) -> None:
        metric.update(*mapped.rows(rows))

    check_every_split(lambda: make(interval=0.1), update, 120)


def one_image(map_hw: object, size: tuple[int, int], box: list[int]) -> tuple[Localization, GroundTruth]:
    blank: Any = None
    localization = localization_of(blank, blank, blank, blank, torch.as_tensor(map_hw)[None], blank, blank)
    return localization, GroundTruth(
        torch.tensor([0]), torch.tensor([[box]]).float(), torch.tensor([1]), torch.tensor([size])
    )


def test_maps_of_another_size_than_the_image() -> None:
    """An image of 4 × 8 scored on maps of 2 × 2: its right half is the map's right column."""
    metric = MaxBoxAccuracy(iou_threshold=1.0, interval=0.5, map_size=[2, 2])
    metric.update(*one_image([[0.0, 1.0], [0.0, 1.0]], (4, 8), [4, 0, 8, 4]))
    assert metric.compute() == {"max_box_accuracy": 1.0, "max_box_accuracy/threshold": 0.0}


@pytest.mark.parametrize(("corners", "hit"), [("inclusive", 1.0), ("half_open", 0.0)])
def test_corners_of_the_benchmark(corners: str, hit: float) -> None:
    """A true box of columns 1 to 2, which its metadata call 1, 2 or 1, 3; the map's box is column 1 and one more."""
    metric = MaxBoxAccuracy(iou_threshold=1.0, interval=0.5, mode="wsol", corners=corners)
    metric.update(*one_image([[0.0, 1.0, 0.0, 0.0, 0.0]], (1, 5), [1, 0, 3, 1]))
    assert metric.compute()["max_box_accuracy"] == hit


def test_where_no_region_is_named_the_modes_differ() -> None:
    """The whole image in `components`, the pixel at the origin in `wsol`."""
    for mode, box in (("components", [0, 0, 5, 3]), ("wsol", [0, 0, 1, 1])):
        metric = MaxBoxAccuracy(iou_threshold=1.0, mode=mode)
        metric.update(*one_image([[0.5, 0.5]], (3, 5), box))
        assert metric.compute()["max_box_accuracy"] == 1.0


def test_without_any_known_box_there_is_nothing_to_report(mapped: Any) -> None:
    rows = (mapped.truth.num_boxes_B == 0).nonzero()[:, 0].tolist()
    for metric in (MaxBoxAccuracy(interval=0.5), MaxBoxAccuracyV2(interval=0.5)):
        metric.update(*mapped.rows(rows))
        assert metric.compute() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "contour"}, "components, wsol"),
        ({"corners": "exclusive"}, "inclusive, half_open"),
        ({"interval": 0.0}, "interval"),
        (
            {"normalise": "none"},
            r"^MaxBoxAccuracy(V2)?: normalise is one of max, minmax, pas, ivr, percentile; got 'none'",
        ),
        ({"upsample": "area"}, r"upsample is one of bilinear, nearest, bicubic; got 'area'"),
    ],
)
def test_bad_options_are_errors(options: dict[str, Any], message: str) -> None:
    for make in (MaxBoxAccuracy, MaxBoxAccuracyV2):
        with pytest.raises(ValueError, match=message):
            make(**options)
    with pytest.raises(ValueError, match="IoU threshold"):
        MaxBoxAccuracyV2(iou_thresholds=[])


@pytest.mark.reference
def test_equals_the_benchmark(reference_data: Path) -> None:
    """150 maps, 100 thresholds, three IoU; V2 at once, MaxBoxAcc at 0.5. Maps go in as whole grey levels."""
    folder = reference_data / "wsol-reference"
    reference = json.loads((folder / "wsol_reference.json").read_text())
    level_SHW = np.load(folder / "wsol_reference.npz")["levels"]
    options: dict[str, Any] = {"mode": "wsol", "interval": 0.01, "normalise": "max"}
    largest, multi = MaxBoxAccuracy(**options), MaxBoxAccuracyV2(**options)
    for level_HW, image_id in zip(level_SHW, reference["image_ids"], strict=True):
        # The reference's own score of a level, whose maximum is 1 in every map.
        score_HW = torch.from_numpy(np.where(level_HW == 255, 1.0, np.where(level_HW == 0, 0.0, level_HW + 0.5) / 255))
        corners_N4 = torch.tensor(reference["gt_boxes_224"][image_id]).float()
        localization, truth = one_image(score_HW, (224, 224), [0, 0, 1, 1])
        truth = truth._replace(
            boxes_BN4=(corners_N4 + torch.tensor([0, 0, 1, 1]))[None], num_boxes_B=torch.tensor([len(corners_N4)])
        )
        largest.update(localization, truth)
        multi.update(localization, truth)
    expected = reference["expected"]
    assert largest.hits.tolist() == [expected["largest_contour"]["hits"]["50"]]
    assert multi.hits.tolist() == [expected["multi_contour"]["hits"][iou] for iou in ("30", "50", "70")]
    percent = expected["multi_contour"]["max_box_acc_percent"]
    assert 100 * multi.compute()["max_box_accuracy_v2"] == pytest.approx(sum(percent.values()) / 3)
