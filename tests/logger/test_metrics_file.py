"""metrics.csv: exact numbers, appended and never rewritten."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import pytest

from cam_lightning.logger.metrics_file import COLUMNS, MetricsFile


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_per_number_to_its_last_bit(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path)
    metrics.log_metrics({"val/loss": 1 / 3, "val/gt_known_error": 0.1 + 0.2, "epoch": 4}, step=70)
    written = rows(tmp_path / "metrics.csv")
    assert tuple(written[0]) == COLUMNS
    assert [(row["step"], row["epoch"], row["key"], float(row["value"])) for row in written] == [
        ("70", "4", "val/loss", 1 / 3),
        ("70", "4", "val/gt_known_error", 0.1 + 0.2),
    ]
    assert datetime.fromisoformat(written[0]["time"]).tzinfo is not None


def test_it_only_appends_also_after_resuming(tmp_path: Path) -> None:
    """A second logger of the same run goes on where the first ended; what was written stays byte by byte."""
    path = tmp_path / "metrics.csv"
    before = b""
    for step in range(4):
        MetricsFile(tmp_path).log_metrics({"train/loss": float(step)}, step=step)
        content = path.read_bytes()
        assert content.startswith(before)
        assert len(content) > len(before)
        before = content
    assert [row["value"] for row in rows(path)] == ["0.0", "1.0", "2.0", "3.0"]
    assert [row["epoch"] for row in rows(path)] == [""] * 4


def test_what_was_logged_after_a_checkpoint_is_taken_back(tmp_path: Path) -> None:
    """Also half a row, where the process was killed in the middle of it; and everything, with its heading."""
    metrics = MetricsFile(tmp_path)
    assert metrics.position() == 0
    metrics.log_metrics({"a": 1.0, "b": 2.0}, step=0)
    before, position = metrics.path.read_bytes(), metrics.position()
    metrics.log_metrics({"a": 3.0}, step=1)
    metrics.path.write_bytes(metrics.path.read_bytes()[:-5])
    again = MetricsFile(tmp_path)
    again.rewind(position)
    assert metrics.path.read_bytes() == before
    again.log_metrics({"a": 4.0}, step=1)
    assert [row["value"] for row in rows(metrics.path)] == ["1.0", "2.0", "4.0"]
    again.rewind(0)
    again.log_metrics({"a": 5.0}, step=0)
    assert [row["value"] for row in rows(metrics.path)] == ["5.0"]


def test_numbers_that_are_not_finite_stay_readable(tmp_path: Path) -> None:
    MetricsFile(tmp_path).log_metrics({"a": float("nan"), "b": float("inf")}, step=0)
    assert [float(row["value"]) for row in rows(tmp_path / "metrics.csv")] == pytest.approx(
        [float("nan"), float("inf")], nan_ok=True
    )


def test_the_callers_numbers_are_left_alone(tmp_path: Path) -> None:
    values = {"a": 1.0, "epoch": 2.0}
    MetricsFile(tmp_path).log_metrics(values, step=0)
    assert values == {"a": 1.0, "epoch": 2.0}


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    MetricsFile(tmp_path).log_metrics({"a": 1.0}, step=0)
    assert list(tmp_path.iterdir()) == []
