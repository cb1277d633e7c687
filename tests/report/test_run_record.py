from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
