"""The table of results: every number, by what its spec says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_world import specs_of, stored

from cam_lightning.contracts import Spec
from cam_lightning.report.html import write_report
from cam_lightning.report.page import RunPage
from cam_lightning.report.run_record import numbers_of, read_run
from cam_lightning.report.section.results import (
    MOST_ARMS,
    ResultRow,
    ResultTable,
    content,
    result_table,
    turned_tables,
)
from cam_lightning.report.split_results import SplitResults


def table_of(values: dict[str, Any], specs: dict[str, Spec] | None = None) -> ResultTable:
    return result_table(SplitResults(numbers_of(values), specs or specs_of("test"), "test"))


def test_the_table_marks_the_better_value_also_when_the_run_loses(results: dict[str, Any]) -> None:
    table = table_of(results)
    assert table.columns == ["this run", "centre box"]
    assert table.has_baseline
    by_title = {row.title: row for row in table.rows}
    assert list(by_title) == [
        "localization error, top-1",
        "localization error, top-5",
        "GT-known error",
        "classification error, top-1",
        "loss",
    ]
    assert by_title["localization error, top-1"].cells == ["60.00%", "55.00%"]
    assert by_title["localization error, top-1"].best == {1}
    assert by_title["GT-known error"].best == {0}
    assert by_title["classification error, top-1"].cells == ["40.00%", ""]
    assert by_title["classification error, top-1"].best == set()
    assert by_title["loss"].cells == ["1.2500", ""]


def test_more_is_better_where_the_spec_says_so_and_nothing_is_best_where_it_says_neither() -> None:
    specs = {
        f"test/{arm}{name}": Spec(name, "number", better=better, arm=arm.rstrip("/"))
        for name, better in (("error_of_my_own", "higher"), ("seconds", None))
        for arm in ("", "my_maps/")
    }
    values = {"test/error_of_my_own": 7.0, "test/my_maps/error_of_my_own": 4.0, "test/seconds": 1.0,
              "test/my_maps/seconds": 2.0}  # fmt: skip
    assert table_of(values, specs).rows == [
        ResultRow("error_of_my_own", "", "higher", ["7.0000", "4.0000"], {0}),
        ResultRow("seconds", "", None, ["1.0000", "2.0000"], set()),
    ]
    assert table_of(values, specs).columns == ["this run", "my maps"]


def test_variants_follow_what_they_vary_thresholds_stand_beside_and_counts_are_left_out() -> None:
    values = {
        "test/gt_known_error_by_size/0_to_0.15": 0.9,
        "test/gt_known_error_by_size/0_to_0.15/num_images": 7,
        "test/localization_error/top1@oracle": 0.4,
        "test/localization_error/top1@oracle/threshold": 0.35,
        "test/max_box_accuracy": 0.7,
        "test/max_box_accuracy/threshold": 0.21,
        "test/gt_known_error": 0.3,
        "test/localization_error/top1": 0.5,
        "test/num_images": 10,
    }
    assert [(row.title, row.variant, row.cells) for row in table_of(values).rows] == [
        ("localization error, top-1", "", ["50.00%"]),
        (
            "localization error, top-1, best threshold of this split (oracle)",
            "best threshold of this split (oracle)",
            ["40.00% at 0.35"],
        ),
        ("GT-known error", "", ["30.00%"]),
        ("GT-known error, objects of 0 to 0.15 of the image", "", ["90.00%"]),
        ("MaxBoxAcc", "", ["70.00% at 0.21"]),
    ]


def test_further_maps_have_columns_and_what_was_counted_for_them_a_row() -> None:
    values = {
        "test/num_degenerate_maps": 3,
        "test/grad_cam/num_degenerate_maps": 0,
        "test/gt_known_error": 0.5,
        "test/grad_cam/gt_known_error": 0.25,
        "test/baseline/centre_box/gt_known_error": 0.75,
        "test/num_images": 4,
    }
    table = table_of(values, specs_of("test", "grad_cam"))
    assert table.columns == ["this run", "grad cam", "centre box"]
    assert [(row.title, row.cells, row.best) for row in table.rows] == [
        ("GT-known error", ["50.00%", "25.00%", "75.00%"], {1}),
        ("maps that named no region", ["3", "0", ""], set()),
    ]


def test_where_all_are_alike_none_is_best() -> None:
    values = {
        "test/gt_known_error": 1.0,
        "test/baseline/centre_box/gt_known_error": 1.0,
        "test/baseline/whole_image/gt_known_error": 1.0,
    }
    assert [row.best for row in table_of(values).rows] == [set()]
    assert [row.best for row in table_of(values | {"test/gt_known_error": 0.5}).rows] == [{0}]


def test_a_number_that_was_not_finite_is_said_to_be_so_and_is_never_best() -> None:
    values = {"test/gt_known_error": None, "test/baseline/centre_box/gt_known_error": 0.75}
    assert [(row.cells, row.best) for row in table_of(values).rows] == [(["not finite", "75.00%"], set())]


def test_a_variant_of_what_was_not_asked_for_is_called_in_full() -> None:
    """Below another number its label alone would read as that one's."""
    values = {"test/classification_error/top1": 0.1, "test/localization_error/top1@0.3": 0.5}
    specs = {
        "test/classification_error/top1": Spec("classification error, top-1", "share", "lower", headline=1),
        "test/localization_error/top1@0.3": Spec(
            "localization error, top-1, threshold 0.3", "share", "lower",
            of="test/localization_error/top1", role="variant", label="threshold 0.3",
        ),
    }  # fmt: skip
    assert [(row.title, row.variant) for row in table_of(values, specs).rows] == [
        ("classification error, top-1", ""), ("localization error, top-1, threshold 0.3", ""),
    ]  # fmt: skip
    specs["test/localization_error/top1"] = Spec("localization error, top-1", "share", "lower", headline=2)
    rows = table_of(values | {"test/localization_error/top1": 0.4}, specs).rows
    assert [row.variant for row in rows] == ["", "", "threshold 0.3"]


MAPS = ("b", "c", "d", "e", "f", "g")
"""With the run's own, seven."""


def test_many_arms_are_rows_and_what_the_run_alone_has_stands_apart() -> None:
    """Variants stay with what they vary, a number that one arm lacks is empty, and the best is marked in its column."""
    values: dict[str, Any] = {"test/classification_error/top1": 0.1, "test/loss": 2.0, "test/max_box_accuracy": 0.5}
    for number, arm in enumerate(("", *(f"{name}/" for name in MAPS))):
        values |= {
            f"test/{arm}gt_known_error": 0.3 + number / 100,
            f"test/{arm}gt_known_error@0.3": 0.6 - number / 100,
            f"test/{arm}localization_error/top1": 0.4,
        }
    values["test/baseline/centre_box/gt_known_error"] = 0.7
    table = table_of(values, specs_of("test", *MAPS))
    alone, tables = turned_tables(table)
    assert [row.title for row in alone] == ["classification error, top-1", "MaxBoxAcc", "loss"]
    (turned,) = tables
    titles = ["localization error, top-1", "GT-known error", "threshold 0.3"]
    assert [column.variant or column.title for column in turned.columns] == titles
    assert [arm for arm, _ in turned.rows] == ["this run", *MAPS, "centre box"]
    for number, (_, cells) in enumerate(turned.rows[:-1]):
        assert cells[1:] == [(f"{30 + number}.00%", number == 0), (f"{60 - number}.00%", number == 6)]
    assert turned.rows[-1][1] == [("", False), ("70.00%", False), ("", False)]


def test_a_table_of_many_arms_is_broken_before_a_number_with_its_variants() -> None:
    rows = [ResultRow(f"{i}", "x" * (i % 3 > 0), None, ["1", "2"], set()) for i in range(9)]
    _, tables = turned_tables(ResultTable(["this run", "b"], rows, False))
    assert [[column.title for column in each.columns] for each in tables] == [list("012345"), list("678")]


def test_the_page_turns_its_table_beyond_the_most_arms(tmp_path: Path) -> None:
    specs = specs_of("test", *MAPS)
    for num_arms in (MOST_ARMS, MOST_ARMS + 1):
        arms = ["", *(f"{name}/" for name in MAPS[: num_arms - 1])]
        results = {f"test/{arm}gt_known_error": 0.25 + i / 100 for i, arm in enumerate(arms)}
        (tmp_path / "results.json").write_text(json.dumps(results | {"specs": stored(specs)}))
        page = write_report(tmp_path).read_text()
        assert ('class="wide turned"' in page) == (num_arms > MOST_ARMS)
        assert page.count("best value of each column is bold") == (num_arms > MOST_ARMS)
        assert all(f">{25 + i}.00%</td>" in page for i in range(num_arms))


def times_of(**seconds: float) -> dict[str, Any]:
    """A file of times, whose maps are called after their arms; `own` is the run's."""
    spec = Spec("time of the map, per image", "number", "lower", "time of the map", unit="ms")
    arms = {f"test/{'' if arm == 'own' else f'{arm}/'}map_time": "" if arm == "own" else arm for arm in seconds}
    specs = {key: spec._replace(arm=arm) for key, arm in arms.items()}
    values = dict(zip(arms, seconds.values(), strict=True))
    return values | {"protocol/times": "by a clock", "specs": stored(specs)}


def test_the_table_of_maps_has_their_times(tmp_path: Path) -> None:
    """Whose columns are those of the other numbers; the quickest is the best."""
    results = {"test/gt_known_error": 0.5, "test/grad_cam/gt_known_error": 0.25, "protocol/seed": 3}
    (tmp_path / "results.json").write_text(json.dumps(results | {"specs": stored(specs_of("test", "grad_cam"))}))
    (tmp_path / "times.json").write_text(json.dumps(times_of(own=0.5, grad_cam=12.25)))
    page = RunPage(read_run(tmp_path))
    shown = content(page)
    assert shown is not None
    assert shown["table"].columns == ["this run", "grad cam"]
    assert [(row.title, row.cells, row.best) for row in shown["table"].rows] == [
        ("GT-known error", ["50.00%", "25.00%"], {1}),
        ("time of the map, per image", ["0.5000 ms", "12.2500 ms"], {0}),
    ]
    assert shown["protocol"] == {"seed": 3, "times": "by a clock"}
    assert "map_time" not in "".join(page.record.results), "results are the same when a run is made again"
    assert "12.2500 ms</td>" in write_report(tmp_path).read_text()


@pytest.mark.parametrize("damaged", ["{", '{"specs": {"test/map_time": 3}}', "[]"])
def test_damaged_times_cost_the_page_no_result(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"test/gt_known_error": 0.5, "specs": stored(specs_of("test"))}))
    (tmp_path / "times.json").write_text(damaged)
    page = write_report(tmp_path).read_text()
    assert "<b>Damaged</b> times.json: " in page
    assert ">50.00%</td>" in page
