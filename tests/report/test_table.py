"""The final table: the numbers of the results, in per cent, beside those of the baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_world import specs_of, stored
from rich.console import Console

from cam_lightning.contracts import Spec
from cam_lightning.metric.images_with_boxes import ImagesWithBoxes
from cam_lightning.report.table import further_line, further_tables, print_results, results_table

KEYS = ("localization_error/top1", "localization_error/top5", "gt_known_error")
RESULTS: dict[str, Any] = {
    "test/num_images": 1000,
    "test/classification_error/top1": 0.1234,
    "test/classification_error/top5": 0.0123,
    **dict(zip([f"test/{key}" for key in KEYS], [0.5, 0.40625, 1 / 3], strict=True)),
    **dict(zip([f"test/baseline/whole_image/{key}" for key in KEYS], [0.9, 0.8, 0.7], strict=True)),
    **dict(zip([f"test/baseline/centre_box/{key}" for key in KEYS], [0.6, 0.55, 0.52], strict=True)),
    "protocol/cam": "ClassActivationMap",
    "protocol/box/rule": "largest_component",
    "protocol/box/threshold": 0.2,
    "specs": stored(specs_of("test", "grad_cam")),
}
OWN = "class activation map, largest component, threshold 0.2"


def lines(results: dict[str, Any], split: str = "test") -> list[list[str]]:
    """The table's rows as words between its rules."""
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(results_table(results, split))
    return [
        [cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")] for line in capture.get().splitlines()
    ]


def test_every_number_is_in_its_row_and_column() -> None:
    table = lines(RESULTS)
    assert table[0] == ["test, 1,000 images: classification error, top-1 12.34%, top-5 1.23%"]
    assert ["box", "top-1", "top-5", "GT-known error"] in table
    rows = [row for row in table if "%" in row[-1] and len(row) == 4]
    assert rows == [
        [OWN, "50.00%", "40.62%", "33.33%"],
        ["baseline: centre box", "60.00%", "55.00%", "52.00%"],
        ["baseline: whole image", "90.00%", "80.00%", "70.00%"],
    ]


def test_thresholds_of_every_kind_stand_beside_the_run_s_own() -> None:
    further = {
        f"test/{key}@{rule}": 0.1 * i
        for key in KEYS
        for i, rule in enumerate(("oracle", "selected", "0.3", "0.05"), start=1)
    }
    chosen = {f"test/{key}@{rule}/threshold": 0.25 for key in KEYS for rule in ("oracle", "selected")}
    rows = [row for row in lines(RESULTS | further | chosen) if "%" in row[-1] and len(row) == 4]
    assert rows[0][0] == OWN
    assert rows[1:5] == [
        ["… threshold 0.05", "40.00%", "40.00%", "40.00%"],
        ["… threshold 0.3", "30.00%", "30.00%", "30.00%"],
        ["… threshold selected in validation", "20.00% at 0.25", "20.00% at 0.25", "20.00% at 0.25"],
        ["… best threshold of this split (oracle)", "10.00% at 0.25", "10.00% at 0.25", "10.00% at 0.25"],
    ]


def test_further_maps_have_rows_of_their_own_with_their_own_variants() -> None:
    further = {f"test/grad_cam/{key}": 0.25 for key in KEYS}
    further |= {"test/grad_cam/gt_known_error@oracle": 0.125, "test/grad_cam/gt_known_error@oracle/threshold": 0.5}
    rows = [row for row in lines(RESULTS | further) if "%" in row[-1] and len(row) == 4]
    assert [row[0] for row in rows] == [
        OWN,
        "grad_cam",
        "grad_cam … best threshold of this split (oracle)",
        "baseline: centre box",
        "baseline: whole image",
    ]
    assert rows[1][1:] == ["25.00%"] * 3
    assert rows[2][1:] == ["", "", "12.50% at 0.5"]


def test_errors_by_size_are_a_table_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    key = "gt_known_error_by_size"
    sizes: dict[str, Any] = {
        f"test/{key}/0_to_0.15": 0.75,
        f"test/{key}/0_to_0.15/num_images": 1200,
        f"test/{key}/0.15_to_1": 0.25,
        f"test/{key}/0.15_to_1/num_images": 40,
        f"test/baseline/centre_box/{key}/0_to_0.15": 1.0,
        f"test/baseline/centre_box/{key}/0.15_to_1": 0.125,
    }
    sizes |= {key.replace("centre_box", "whole_image"): value for key, value in sizes.items() if "centre" in key}
    print_results({**RESULTS, **dict(sorted(sizes.items()))})
    out = capsys.readouterr().out
    assert "GT-known error by the object's share of the image" in out
    assert "1,200 images" in out
    assert any(line.split("│")[2:4] == ["75.00%", "25.00%"] for line in out.replace(" ", "").splitlines())
    assert any("12.50%" in line and "centre box" in line for line in out.splitlines())


def test_what_has_no_like_is_one_line_and_what_further_maps_have_too_is_a_table() -> None:
    results = RESULTS | {"test/loss": 1.5, "test/max_box_accuracy": 0.5, "test/max_box_accuracy/threshold": 0.25}
    assert further_line(results) == "MaxBoxAcc 50.00% at 0.25, loss 1.5000"
    assert further_tables(results) == []
    results["test/grad_cam/max_box_accuracy"] = 0.625
    (table,) = further_tables(results)
    assert (table.title, table.row_count) == ("MaxBoxAcc", 2)
    assert further_line(results) == "loss 1.5000"


def test_what_was_counted_is_said_and_nothing_of_which_there_was_none() -> None:
    counts = {"test/num_degenerate_maps": 3, "test/num_skipped_images": 0}
    specs = RESULTS["specs"] | stored({"test/num_skipped_images": Spec("images skipped", "count", better=None)})
    title = lines(RESULTS | counts | {"specs": specs})[0][0]
    assert title.startswith("test, 1,000 images, 3 maps that named no region: classification")


@pytest.mark.parametrize(
    ("with_boxes", "said"), [(996, "996 with boxes"), (0, "0 with boxes"), (1000, "1,000 with boxes")]
)
def test_how_many_images_had_boxes_is_said_always(with_boxes: int, said: str) -> None:
    counts = {"test/num_with_boxes": with_boxes, "test/num_degenerate_maps": 3}
    specs = {f"test/{key}": spec._replace(of=f"test/{spec.of}") for key, spec in ImagesWithBoxes().specs().items()}
    results = RESULTS | counts | {"specs": RESULTS["specs"] | stored(specs)}
    table = lines(results)
    assert table[0][0].startswith(f"test, 1,000 images ({said}), 3 maps that named no region: classification")
    assert table[1:] == lines(RESULTS)[1:], "it is no headline, and no row"
    assert further_line(results) == further_line(RESULTS)


def test_another_split_is_another_table() -> None:
    results = RESULTS | {key.replace("test/", "val/", 1): value for key, value in RESULTS.items()}
    results["val/gt_known_error"] = 0.25
    results["specs"] = RESULTS["specs"] | stored(specs_of("val"))
    assert any("25.00%" in row for row in lines(results, "val"))
    assert not any("25.00%" in row for row in lines(results, "test"))


def test_a_metric_that_was_not_asked_for_has_no_column() -> None:
    results = {key: value for key, value in RESULTS.items() if "localization_error" not in key}
    rows = [row for row in lines(results) if len(row) == 2]
    assert [OWN, "33.33%"] in rows
    assert ["baseline: centre box", "52.00%"] in rows


def test_without_localization_it_says_so() -> None:
    results = {
        key: value for key, value in RESULTS.items() if "classification" in key or "num_" in key or key == "specs"
    }
    text = " ".join(word for row in lines(results) for word in row)
    assert "12.34%" in text
    assert "localization: not available" in text


def test_it_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_results(RESULTS)
    assert "top-1 12.34%" in capsys.readouterr().out


def test_a_split_that_was_not_evaluated_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_results({"protocol/seed": 0})
    assert "test: no image was evaluated" in capsys.readouterr().out


def test_what_maps_took_is_printed_beside_the_results_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    print_results(RESULTS, run_dir=tmp_path)
    assert "Time of the map" not in capsys.readouterr().out, "one map, or a run that did not say"
    spec = Spec("time of the map, per image", "number", "lower", "time of the map", unit="ms", label="per image")
    times = {"test/map_time": 0.5, "test/grad_cam/map_time": 12.25, "test/pass_time/forward": 30.0}
    specs = {
        "test/map_time": spec,
        "test/grad_cam/map_time": spec._replace(arm="grad_cam"),
        "test/pass_time/forward": Spec("time of a forward, per image", "number", None, unit="ms"),
    }
    (tmp_path / "times.json").write_text(json.dumps(times | {"specs": stored(specs)}))
    print_results(RESULTS, run_dir=tmp_path)
    out = capsys.readouterr().out
    _, table = out.split("Time of the map")
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines() if "ms" in line]
    assert rows[:2] == [[OWN, "0.5000 ms"], ["grad_cam", "12.2500 ms"]]
    assert "time of a forward, per image 30.0000 ms" in table
    assert RESULTS["specs"].keys() == stored(specs_of("test", "grad_cam")).keys(), "the results are left as they were"
