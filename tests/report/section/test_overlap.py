"""Overlaps and their accuracies against plain loops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_world import prediction, specs_of

from cam_lightning.contracts import Spec
from cam_lightning.report.chart import LEFT, RIGHT
from cam_lightning.report.run_record import read_predictions, read_threshold_curves
from cam_lightning.report.section.overlap import overlaps, threshold_chart
from cam_lightning.run.prediction_table import Prediction


def test_accuracies_are_those_of_a_plain_loop(
    make_run: Callable[..., Path], rows: list[Prediction], results: dict[str, Any]
) -> None:
    run_dir = make_run(rows, results)
    figures = overlaps(read_predictions(run_dir, "test"), 0.5)
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
    row = prediction("test/0", 4, "cat", [4, 7], ["cat", "dog"], [0.9, 0.1], [0, 0, 1], [0.1, 0.6, 0.9], 0.1)
    run_dir = make_run([row, row._replace(label=7, label_name="dog")])
    figures = overlaps(read_predictions(run_dir, "test"), 0.5)
    assert figures is not None
    # At 0.3, 0.5, 0.7: the cat's second box has 0.6, the dog's only box 0.9.
    assert dict(figures.rows)["top-1"] == ["0.00%", "0.00%", "0.00%"]
    assert dict(figures.rows)["top-5"] == ["100.00%", "100.00%", "50.00%"]


def test_classes_that_share_a_name_are_two_classes(make_run: Callable[..., Path]) -> None:
    """ImageNet has a crane that flies and a crane that lifts."""
    row = prediction("test/0", 134, "crane", [517, 134], ["crane", "crane"], [0.9, 0.1], [0, 1], [0.8, 0.6], 0.6)
    run_dir = make_run([row])
    figures = overlaps(read_predictions(run_dir, "test"), 0.5)
    assert figures is not None
    assert dict(figures.rows)["top-1"] == ["0.00%", "0.00%", "0.00%"]
    assert dict(figures.rows)["top-5"] == ["100.00%", "100.00%", "0.00%"]


def test_an_overlap_on_an_edge_counts_in_the_bin_above(make_run: Callable[..., Path]) -> None:
    """IoU 0.5 is a hit at 0.5, so it must stand right of the line; IoU 1 belongs to the last bin."""
    rows = [
        prediction(f"test/{i}", 0, "cat", [0, 1], ["cat", "dog"], [0.9, 0.1], [0, 1], [iou, 0.0], iou)
        for i, iou in enumerate((0.0, 0.499999, 0.5, 1.0))
    ]
    run_dir = make_run(rows)
    figures = overlaps(read_predictions(run_dir, "test"), 0.5)
    assert figures is not None
    filled = [bar.note for bar in figures.histogram.bars if "0 class right, 0 class wrong" not in bar.note]
    assert [note[:12] for note in filled] == ["0.00 to 0.05", "0.45 to 0.50", "0.50 to 0.55", "0.95 to 1.00"]


def test_images_without_a_box_are_counted_and_left_out(
    make_run: Callable[..., Path], rows: list[Prediction], results: dict[str, Any]
) -> None:
    run_dir = make_run(rows, results)
    unknown = prediction("test/z", 0, "cat", [0], ["cat"], [1.0], [0], [], None)
    predictions = [*read_predictions(run_dir, "test"), unknown]
    figures = overlaps(predictions, 0.5)
    assert figures is not None
    assert (figures.num_images, figures.num_without_box) == (5, 1)
    assert overlaps([unknown], 0.5) is None


def test_numbers_over_thresholds_are_called_and_judged_as_their_specs_say(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    assert threshold_chart(read_threshold_curves(run_dir, "test"), {}, "test", 0.2) is None
    curves = {"threshold": [0.0, 0.5], "localization_error/top1": [0.75, 0.5], "my_accuracy": [0.25, 0.5]}
    (run_dir / "threshold_curves.json").write_text(json.dumps(curves))
    specs = specs_of("test") | {"test/my_accuracy": Spec("my accuracy", better="higher")}
    chart = threshold_chart(read_threshold_curves(run_dir, "test"), specs, "test", 0.2)
    assert chart is not None
    assert [(line.label, line.value) for line in chart.lines] == [
        ("top-1", "50.00% at 0.5"),
        ("my accuracy", "50.00% at 0.5"),
    ]
    assert chart.rule is not None


def test_a_threshold_of_raw_maps_lies_within_the_chart() -> None:
    curves = {"threshold": [-2.0, 0.0, 0.5, 6.5], "gt_known_error": [0.5, 0.75, 0.5, 0.25]}
    chart = threshold_chart(curves, specs_of("test"), "test", 6.5)
    assert chart is not None
    places = [x for x, _, _ in chart.lines[0].dots]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (LEFT, RIGHT)
    assert chart.rule == RIGHT


@pytest.mark.parametrize("text", ["{", "[]", '{"threshold": [0.1]', '{"threshold": [0.1], "x": []}', '{"x": [1]}'])
def test_damaged_curves_are_an_error_with_their_name(make_run: Callable[..., Path], text: str) -> None:
    run_dir = make_run()
    (run_dir / "threshold_curves.json").write_text(text)
    with pytest.raises(ValueError, match=r"^threshold_curves\.json is damaged: "):
        read_threshold_curves(run_dir, "test")
