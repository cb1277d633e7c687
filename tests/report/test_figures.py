from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cam_lightning.report.figures import (
    last_values,
    learning_curves,
    metric_name,
    overlaps,
    result_table,
    threshold_chart,
)
from cam_lightning.report.run_record import Point, Prediction, read_predictions, read_run, read_threshold_curves


def test_accuracies_are_those_of_a_plain_loop(
    make_run: Callable[..., Path], rows: list[Prediction], results: dict[str, Any]
) -> None:
    run_dir = make_run(rows, results)
    figures = overlaps(read_predictions(run_dir, "test"), read_run(run_dir), "test")
    assert figures is not None
    accuracy = dict(figures.rows)
    assert figures.thresholds == [0.3, 0.5, 0.7]
    for position, threshold in enumerate(figures.thresholds):
        top1 = top5 = known = 0
        for row in rows:
            top1 += row.names[0] == row.label_name and row.ious[0] >= threshold
            top5 += any(
                name == row.label_name and iou >= threshold for name, iou in zip(row.names, row.ious, strict=True)
            )
            assert row.gt_known_iou is not None
            known += row.gt_known_iou >= threshold
        for name, hits in (("top-1", top1), ("top-5", top5), ("GT-known", known)):
            assert accuracy[name][position] == f"{hits / len(rows):.2%}"


def test_several_boxes_of_one_class_are_guesses_of_that_class(make_run: Callable[..., Path]) -> None:
    """Two boxes of the best class, then one of the second: guess 1 is of class 0, not of the second best."""
    row = Prediction("test/0", 4, "cat", [4, 7], ["cat", "dog"], [0.9, 0.1], [0, 0, 1], [0.1, 0.6, 0.9], 0.1)
    run_dir = make_run([row, row._replace(label=7, label_name="dog")])
    figures = overlaps(read_predictions(run_dir, "test"), read_run(run_dir), "test")
    assert figures is not None
    # At 0.3, 0.5, 0.7: the cat's second box has 0.6, the dog's only box 0.9.
    assert dict(figures.rows)["top-1"] == ["0.00%", "0.00%", "0.00%"]
    assert dict(figures.rows)["top-5"] == ["100.00%", "100.00%", "50.00%"]


def test_classes_that_share_a_name_are_two_classes(make_run: Callable[..., Path]) -> None:
    """ImageNet has a crane that flies and a crane that lifts."""
    row = Prediction("test/0", 134, "crane", [517, 134], ["crane", "crane"], [0.9, 0.1], [0, 1], [0.8, 0.6], 0.6)
    run_dir = make_run([row])
    figures = overlaps(read_predictions(run_dir, "test"), read_run(run_dir), "test")
    assert figures is not None
    assert dict(figures.rows)["top-1"] == ["0.00%", "0.00%", "0.00%"]
    assert dict(figures.rows)["top-5"] == ["100.00%", "100.00%", "0.00%"]


def test_an_overlap_on_an_edge_counts_in_the_bin_above(make_run: Callable[..., Path]) -> None:
    """IoU 0.5 is a hit at 0.5, so it must stand right of the line; IoU 1 belongs to the last bin."""
    rows = [
        Prediction(f"test/{i}", 0, "cat", [0, 1], ["cat", "dog"], [0.9, 0.1], [0, 1], [iou, 0.0], iou)
        for i, iou in enumerate((0.0, 0.499999, 0.5, 1.0))
    ]
    run_dir = make_run(rows)
    figures = overlaps(read_predictions(run_dir, "test"), read_run(run_dir), "test")
    assert figures is not None
    filled = [bar.note for bar in figures.histogram.bars if "0 class right, 0 class wrong" not in bar.note]
    assert [note[:12] for note in filled] == ["0.00 to 0.05", "0.45 to 0.50", "0.50 to 0.55", "0.95 to 1.00"]


def test_images_without_a_box_are_counted_and_left_out(
    make_run: Callable[..., Path], rows: list[Prediction], results: dict[str, Any]
) -> None:
    run_dir = make_run(rows, results)
    unknown = Prediction("test/z", 0, "cat", [0], ["cat"], [1.0], [0], [], None)
    predictions = [*read_predictions(run_dir, "test"), unknown]
    figures = overlaps(predictions, read_run(run_dir), "test")
    assert figures is not None
    assert (figures.num_images, figures.num_without_box) == (5, 1)
    assert overlaps([unknown], read_run(run_dir), "test") is None


def test_the_table_marks_the_better_value_also_when_the_run_loses(results: dict[str, Any]) -> None:
    table = result_table(results, "test")
    assert table.columns == ["this run", "centre box"]
    by_name = {row.name: row for row in table.rows}
    assert list(by_name) == [
        "classification error, top-1",
        "localization error, top-1",
        "localization error, top-5",
        "GT-known error",
        "loss",
    ]
    assert by_name["localization error, top-1"].cells == ["60.00%", "55.00%"]
    assert by_name["localization error, top-1"].best == {1}
    assert by_name["GT-known error"].best == {0}
    assert by_name["classification error, top-1"].cells == ["40.00%", ""]
    assert by_name["classification error, top-1"].best == set()
    assert (table.num_images, table.num_degenerate) == (5, None)


def test_more_is_better_for_accuracies() -> None:
    values = {"test/max_box_accuracy": 0.7, "test/baseline/centre_box/max_box_accuracy": 0.4}
    (row,) = result_table(values, "test").rows
    assert not row.lower_is_better
    assert row.best == {0}


def test_learning_curves_join_what_belongs_together(make_run: Callable[..., Path]) -> None:
    curves = read_run(make_run()).curves
    loss, localization = learning_curves(curves)
    assert loss.title == "Loss"
    assert [(line.label, line.value) for line in loss.lines] == [("val", "2.25"), ("train", "2.5")]
    assert [line.label for line in localization.lines] == ["val top-1", "val GT-known", "val centre box"]
    assert [line.style for line in localization.lines] == ["line0", "line1", "baseline dash0"]
    assert last_values(curves)["val/gt_known_error"] == 0.75


def test_every_metric_that_a_run_may_log_has_a_chart_of_its_own() -> None:
    curves = _curves({"val/max_box_accuracy@oracle": 0.5, "lr-SGD": 0.1, "test/loss": 3.0})
    assert [chart.title for chart in learning_curves(curves)] == ["Lr-SGD", "Max box accuracy@oracle"]


def test_what_belongs_to_another_key_has_no_line_of_its_own() -> None:
    """A threshold is no error, a count no share, and an error at another threshold is in the table."""
    key = "val/gt_known_error"
    curves = _curves({key: 0.5, f"{key}@oracle": 0.4, f"{key}@oracle/threshold": 0.3})
    curves |= _curves(
        {"val/gt_known_error_by_size/0_to_0.15": 0.9, "val/gt_known_error_by_size/0_to_0.15/num_images": 7}
    )
    charts = learning_curves(curves)
    assert [[line.label for line in chart.lines] for chart in charts] == [["val GT-known"], ["val 0 to 0.15"]]


def test_the_table_says_the_threshold_beside_the_error_and_leaves_counts_out() -> None:
    values = {
        "test/localization_error/top1": 0.5,
        "test/localization_error/top1@oracle": 0.4,
        "test/localization_error/top1@oracle/threshold": 0.35,
        "test/gt_known_error_by_size/0_to_0.15": 0.9,
        "test/gt_known_error_by_size/0_to_0.15/num_images": 7,
        "test/max_box_accuracy": 0.7,
        "test/max_box_accuracy/threshold": 0.21,
    }
    assert [(row.name, row.cells) for row in result_table(values, "test").rows] == [
        ("localization error, top-1", ["50.00%"]),
        ("localization error, top-1@oracle", ["40.00% at 0.35"]),
        ("GT-known error by size, 0 to 0.15", ["90.00%"]),
        ("max box accuracy", ["70.00% at 0.21"]),
    ]


def test_errors_over_thresholds(make_run: Callable[..., Path]) -> None:
    run_dir = make_run(results={"protocol/box/threshold": 0.2})
    assert threshold_chart(read_threshold_curves(run_dir, "test"), read_run(run_dir)) is None
    curves = {"threshold": [0.0, 0.5], "localization_error/top1": [0.75, 0.5], "localization_error/top5": [0.5, 0.25]}
    (run_dir / "threshold_curves.json").write_text(json.dumps(curves | {"gt_known_error": [0.25, 0.25]}))
    chart = threshold_chart(read_threshold_curves(run_dir, "test"), read_run(run_dir))
    assert chart is not None
    assert [(line.label, line.value) for line in chart.lines] == [
        ("top-1", "50.00% at 0.5"),
        ("top-5", "25.00% at 0.5"),
        ("GT-known", "25.00% at 0"),
    ]
    assert chart.rule is not None


def _curves(values: dict[str, float]) -> dict[str, list[Point]]:
    return {key: [Point(1, "0", value)] for key, value in values.items()}


def test_keys_are_said_in_words() -> None:
    assert metric_name("localization_error/top1@0.3") == "localization error, top-1@0.3"
    assert metric_name("gt_known_error") == "GT-known error"
