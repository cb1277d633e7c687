"""The table of checkpoints that were kept by different numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cam_lightning.report.html import write_report
from cam_lightning.report.run_record import read_run
from cam_lightning.report.section.kept import kept_table

KEPT = {
    "best_classification": {
        "by": "val/classification_error/top1",
        "epoch": 3,
        "val/classification_error/top1": 0.25,
        "val/gt_known_error": 0.7,
    },
    "best_localization": {"by": "val/gt_known_error", "epoch": 1, "val/gt_known_error": 0.5},
}


def test_what_each_costs_in_the_other(make_run: Callable[..., Path], results: dict[str, Any]) -> None:
    made = make_run(results=results | {"protocol/kept": KEPT})
    table = kept_table(read_run(made))
    assert table is not None
    assert table.columns == ["classification error, top-1", "GT-known error"]
    assert [(row.name, row.by, row.epoch, *row.cells, *row.beyond) for row in table.rows] == [
        ("best_classification", "classification error, top-1", "3", "25.00%", "70.00%", "", "+20.00"),
        ("best_localization", "GT-known error", "1", "–", "50.00%", "", ""),
        ("last", "", "last", "–", "75.00%", "", "+25.00"),
    ]
    assert 'id="checkpoints"' in write_report(made).read_text()


def test_no_table_where_none_was_kept(make_run: Callable[..., Path], results: dict[str, Any]) -> None:
    assert kept_table(read_run(make_run(results=results))) is None
