"""The table of thresholds by how they were chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from report_world import specs_of, stored

from cam_lightning.report.html import write_report
from cam_lightning.report.run_record import read_run
from cam_lightning.report.section.thresholds import ways

NUMBERS = {
    "test/gt_known_error": 0.5,
    "test/gt_known_error@0.3": 0.6,
    "test/gt_known_error@selected": 0.45,
    "test/gt_known_error@selected/threshold": 0.12,
    "test/gt_known_error@label_free": 0.475,
    "test/gt_known_error@label_free/threshold": 0.08,
    "test/gt_known_error@oracle": 0.44,
    "test/gt_known_error@oracle/threshold": 0.1,
    "test/num_boxed_images_for_selection": 1000,
}


def test_every_way_with_its_cost(make_run: Callable[..., Path], results: dict[str, Any]) -> None:
    made = make_run(results=results | NUMBERS | {"specs": stored(specs_of("test"))})
    table = ways(read_run(made), "test")
    assert table is not None
    assert table.columns == ["GT-known error"], "an error without a best threshold has no row here"
    assert [(row.title, *row.cells, *row.above, row.boxes) for row in table.rows] == [
        ("fixed beforehand: 0.2, the run’s own", "50.00%", "+6.00", "none"),
        ("fixed beforehand: 0.3", "60.00%", "+16.00", "none"),
        ("threshold selected in validation", "45.00% at 0.12", "+1.00", "1,000 validation images"),
        ("threshold selected in validation without boxes", "47.50% at 0.08", "+3.50", "none"),
        ("best threshold of this split (oracle)", "44.00% at 0.1", "", "those that it is scored by"),
    ]
    page = write_report(made).read_text()
    assert 'id="thresholds"' in page
    assert "1,000 validation images" in page


def test_no_table_where_nothing_was_chosen(make_run: Callable[..., Path], results: dict[str, Any]) -> None:
    made = make_run(results=results)
    assert ways(read_run(made), "test") is None
    assert 'id="thresholds"' not in write_report(made).read_text()
