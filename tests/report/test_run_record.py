from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cam_lightning.contracts import Spec
from cam_lightning.report.run_record import Point, prediction_of, read_predictions, read_run
from cam_lightning.run.prediction_table import Prediction


def _rows(*ids: str) -> list[Prediction]:
    return [Prediction(image_id, 0, "cat", [0], ["cat"], [1.0], [0], [0.5], 0.5) for image_id in ids]


def test_an_empty_directory_is_a_run_without_anything(tmp_path: Path) -> None:
    record = read_run(tmp_path)
    assert (record.status, record.config, record.curves, record.results) == ({}, {}, {}, {})
    assert (record.specs, record.damage, record.hit_iou) == ({}, {}, 0.5)
    assert read_predictions(tmp_path, "test") == []


def test_curves_hold_what_was_logged_less_nan(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    with (run_dir / "metrics.csv").open("a") as file:
        file.write("2026-03-04T05:06:07+00:00,59,1,train/lo")
    curves = read_run(run_dir).curves
    assert curves["train/loss"] == [Point(19, "0", 2.5)]
    assert len(curves) == 6 - 1 + 1


def test_predictions_come_back_as_written(make_run: Callable[..., Path], rows: list[Prediction]) -> None:
    predictions = read_predictions(make_run(rows), "test")
    assert predictions == rows


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        ("000001_b.png", "x/b.jpg"),
        ("000000_a_b_c.png", "x/a b'c.jpg"),
        # Only some batches were evaluated: row 1 is not image 7, but the id tells.
        ("000007_b.png", "x/b.jpg"),
        ("000002_b.png", "x/b.jpg"),
        ("000002_unheard_of.png", None),
    ],
)
def test_a_picture_finds_its_row(picture: str, found: str | None) -> None:
    row = prediction_of(picture, _rows("x/a b'c.jpg", "x/b.jpg", "y/d.jpg"))
    assert (row and row.id) == found


def test_a_picture_of_two_possible_rows_has_none() -> None:
    """Folders of equal file names: better no caption than another image's."""
    assert prediction_of("000009_0001.png", _rows("cat/0001.jpg", "dog/0001.jpg")) is None


def test_the_last_row_counts_only_when_it_is_whole(make_run: Callable[..., Path]) -> None:
    """A run that is writing shows 0.8 of 0.875 for a moment: that is no number of its."""
    run_dir = make_run()
    with (run_dir / "metrics.csv").open("a") as file:
        file.write("x,59,1,val/gt_known_error,0.8")
    record = read_run(run_dir)
    assert record.curves["val/gt_known_error"] == [Point(49, "0", 0.75)]
    assert record.damage == {}, "it is not damaged, but not done"


def test_rows_that_are_none_are_damage_and_the_others_count(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    with (run_dir / "metrics.csv").open("a") as file:
        file.write("x,59,1,val/gt_kn\nx,69,2,val/gt_known_error,0.5\nx,one,2,val/loss,0.5\n")
    record = read_run(run_dir)
    assert record.curves["val/gt_known_error"] == [Point(49, "0", 0.75), Point(69, "2", 0.5)]
    assert record.damage == {"metrics.csv": "row 8 is not a row of step, epoch, key and value"}


def test_specs_are_those_of_both_files_and_a_later_version_s_field_is_no_matter(make_run: Callable[..., Path]) -> None:
    run_dir = make_run(results={"test/mine": 1.0, "specs": {"test/mine": {"title": "mine", "later": [1]}}})
    record = read_run(run_dir)
    assert record.specs["test/mine"] == Spec("mine")
    assert record.specs["val/loss"].title == "loss"
    assert "specs" not in record.results


@pytest.mark.parametrize("spec", [3, {"kind": "share"}, {"title": 3}, {"title": "x", "headline": "first"}])
def test_specs_that_are_none_are_damage(make_run: Callable[..., Path], spec: object) -> None:
    record = read_run(make_run(results={"test/gt_known_error": 0.5, "specs": {"test/gt_known_error": spec}}))
    assert record.damage.keys() == {"results.json"}
    assert record.numbers == {"test/gt_known_error": 0.5}


def test_the_overlap_of_a_hit_is_the_run_s_own_also_of_an_earlier_run(tmp_path: Path) -> None:
    for number, (text, expected) in enumerate(
        [
            ("hit_iou: 0.7\nmetric: {localization_error: {iou_threshold: 0.3}}", 0.7),
            ("metric: {localization_error: {iou_threshold: 0.3}}", 0.3),
            ("metric: {}", 0.5),
            ("seed: 0", 0.5),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "config.yaml").write_text(text)
        assert read_run(tmp_path / str(number)).hit_iou == expected


@pytest.mark.parametrize(
    "changed", [{"ranks": [0, 2]}, {"ious": [0.1, 0.2, 0.3]}, {"names": ["cat"]}, {"classes": [], "names": []}]
)
def test_a_row_whose_parts_do_not_fit_is_damage(
    make_run: Callable[..., Path], rows: list[Prediction], changed: dict[str, list[Any]]
) -> None:
    with pytest.raises(ValueError, match=r"^predictions\.csv, row 2: "):
        read_predictions(make_run([rows[0], rows[1]._replace(**changed)]), "test")
