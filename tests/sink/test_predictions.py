"""predictions.csv: every image, in order, and the metrics over again from its rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import GroundTruth, LabelBox, Localization, Proposals
from cam_lightning.localization.localizer import Localizer
from cam_lightning.metric.gt_known_error import GtKnownError
from cam_lightning.metric.localization_error import LocalizationError
from cam_lightning.run.prediction_table import COLUMNS
from cam_lightning.sink.predictions import Predictions


def read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lists = ("truth_boxes", "classes", "names", "class_ids", "probabilities", "boxes", "ranks", "ious", "gt_known_box")
    return [row | {name: json.loads(row[name]) for name in lists} for row in rows]


@pytest.mark.parametrize("frame", ["original", "input"])
def test_the_rows_say_what_the_metrics_say(
    data: Any, method: Any, trainer: Any, overlap: Any, tmp_path: Path, frame: str
) -> None:
    metrics = {"localization_error": LocalizationError(), "gt_known_error": GtKnownError()}
    callback = LocalizationCallback(
        Localizer(method.network, {"": ClassActivationMap()}, {"": LargestComponent(frame=frame)}),
        metrics,
        sinks={"predictions": Predictions(str(tmp_path))},
    )
    testing = trainer(callback)
    testing.test(method, datamodule=data, verbose=False)

    rows = read(tmp_path / "predictions.csv")
    split = data.examples["test"].split
    assert tuple(rows[0]) == COLUMNS
    assert [row["id"] for row in rows] == split.ids
    wrong, counted = {"top1": 0, "top5": 0, "gt_known": 0, "class1": 0, "class5": 0}, 0
    for row, label, (image_HW3, boxes_N4, _) in zip(rows, split.label_N.tolist(), split.images, strict=True):
        assert (int(row["height"]), int(row["width"])) == image_HW3.shape[:2]
        assert (int(row["label"]), row["label_name"]) == (label, f"CLASS {label}, \u0085")
        assert row["names"] == [f"CLASS {c}, \u0085" for c in row["classes"]]
        assert row["class_ids"] == [data.class_names[c] for c in row["classes"]]
        assert row["truth_boxes"] == boxes_N4.tolist()
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
        assert row["ranks"] == list(range(len(row["boxes"])))
        wrong["class1"] += row["classes"][0] != label
        wrong["class5"] += label not in row["classes"]
        if not row["truth_boxes"]:
            assert (row["ious"], row["gt_known_iou"]) == ([], "")
            continue
        counted += 1
        # Boxes of the input frame are not whole numbers, and the table rounds them to hundredths.
        tolerance = 1e-12 if frame == "original" else 0.01
        for box, iou in zip(
            [*row["boxes"], row["gt_known_box"]], [*row["ious"], float(row["gt_known_iou"])], strict=True
        ):
            expected = max(overlap(box, true) for true in row["truth_boxes"])
            assert iou == pytest.approx(expected, abs=tolerance)
        hits = [c == label and iou >= 0.5 for c, iou in zip(row["classes"], row["ious"], strict=True)]
        wrong["top1"] += not hits[0]
        wrong["top5"] += not any(hits)
        wrong["gt_known"] += float(row["gt_known_iou"]) < 0.5
    assert counted == 16
    results = {key: value.item() for key, value in testing.callback_metrics.items()}
    assert results["test/localization_error/top1"] == wrong["top1"] / counted
    assert results["test/localization_error/top5"] == wrong["top5"] / counted
    assert results["test/gt_known_error"] == wrong["gt_known"] / counted
    assert results["test/classification_error/top1"] == wrong["class1"] / 20
    assert results["test/classification_error/top5"] == wrong["class5"] / 20
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"], "no part is left"


class Source:
    """Image ids and nothing else."""

    def __init__(self, count: int) -> None:
        self.ids = [f"image {i}" for i in range(count)]
        self.class_names = ["n02391049"]

    def __len__(self) -> int:
        return len(self.ids)

    def original(self, index: int) -> Any:
        raise AssertionError("a table needs no pixels")


def one_guess(
    indices: list[int], box: list[float], truth: list[float]
) -> tuple[Localization, GroundTruth, dict[str, Localization]]:
    count = len(indices)
    boxes_BP4 = torch.tensor([[box]] * count)
    no = torch.zeros(count, 1, dtype=torch.bool)
    localization = Localization(
        index_B=torch.tensor(indices),
        classes_BT=torch.zeros(count, 1, dtype=torch.int64),
        probability_BT=torch.ones(count, 1),
        map_BThw=torch.zeros(count, 1, 2, 2),
        proposals=Proposals(boxes_BP4, (0,), no),
        label=LabelBox(torch.zeros(count, 2, 2), boxes_BP4[:, 0], no[:, 0]),
    )
    ones = torch.ones(count, dtype=torch.int64)
    size_B2 = torch.tensor([[3000, 4000]] * count)
    return localization, GroundTruth(0 * ones, torch.tensor([[truth]] * count), ones, size_B2), {}


def test_a_narrow_miss_is_not_rounded_into_a_hit(tmp_path: Path) -> None:
    """In 12 megapixels an IoU can be below one half by a ten-millionth."""
    whole = [0.0, 0.0, 4000.0, 3000.0]
    localization, truth, _ = one_guess([0], [0.0, 0.0, 3999.0, 1500.0], whole)
    metric = GtKnownError(iou_threshold=0.499875 + 1e-8)
    metric.update(localization, truth)
    predictions = Predictions(str(tmp_path))
    predictions.start("test", Source(1), ["zebra"], 0, 1)
    predictions.add(localization, truth, {})
    predictions.finish()
    predictions.merge()
    row = read(tmp_path / "predictions.csv")[0]
    assert metric.compute() == {"gt_known_error": 1.0}
    assert row["ious"] == [3999 * 1500 / 12_000_000]
    assert float(row["gt_known_iou"]) == 3999 * 1500 / 12_000_000


def test_ranks_with_unequal_shares_make_one_table_in_the_datasets_order(tmp_path: Path) -> None:
    """Three ranks of 7 images: 0 3 6, 1 4, 2 5, in batches of two; a fourth has none."""
    ranks = [Predictions(str(tmp_path)) for _ in range(4)]
    for rank, predictions in enumerate(ranks):
        predictions.start("test", Source(7), ["zebra"], rank, 4)
        indices = list(range(rank, 7, 3)) if rank < 3 else []
        for start in range(0, len(indices), 2):
            some = indices[start : start + 2]
            predictions.add(*one_guess(some, [0.0, 0, 1, 1], [0.0, 0, 1, 1]))
    for predictions in ranks:
        predictions.finish()
    assert not (tmp_path / "predictions.csv").exists()
    ranks[0].merge()
    assert [row["id"] for row in read(tmp_path / "predictions.csv")] == [f"image {i}" for i in range(7)]
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_splits_that_were_not_asked_for_are_left_out(tmp_path: Path) -> None:
    predictions = Predictions(str(tmp_path))
    predictions.start("val", Source(1), ["zebra"], 0, 1)
    predictions.add(*one_guess([0], [0.0, 0, 1, 1], [0.0, 0, 1, 1]))
    predictions.finish()
    predictions.merge()
    assert list(tmp_path.iterdir()) == []
