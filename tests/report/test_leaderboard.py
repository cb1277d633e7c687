"""Any runs as a leaderboard: means over seeds, ways of choosing thresholds, baselines, sizes, cost; four formats."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
from report_world import specs_of, stored

from cam_lightning.report.found_runs import find_runs
from cam_lightning.report.leaderboard import Board, leaderboard
from cam_lightning.report.leaderboard_html import write_leaderboard
from cam_lightning.report.leaderboard_text import as_csv, as_latex, as_markdown, best
from cam_lightning.report.run_record import read_run
from cam_lightning.run.prediction_table import Prediction, write_predictions
from experiments.leaderboard import main

HOSTILE = "<b>A&B_100%</b>"


def make(
    folder: Path, method: str, seed: int, error: float, minutes: int = 30, images: int = 40, **further: Any
) -> Path:
    """A finished run of a method: GT-known error `error` at the fixed threshold, and a little less at others."""
    folder.mkdir(parents=True)
    config = f"method: {{_target_: mine.{method}}}\ndataset: {{_target_: mine.Birds}}\nseed: {seed}\n"
    (folder / "config.yaml").write_text(
        config + "trainer: {accelerator: cpu, devices: 2}\n" + further.get("config", "")
    )
    end = f"2026-03-04T{5 + minutes // 60:02d}:{minutes % 60:02d}:00+00:00"
    (folder / "status.json").write_text(json.dumps({"state": "finished", "time": end}))
    environment = {"time": "2026-03-04T05:00:00+00:00", "devices": {"cores": 4, "gpu": []}}
    (folder / "environment.json").write_text(json.dumps(environment))
    results = {
        "test/gt_known_error": error,
        "test/gt_known_error@selected": error - 0.1,
        "test/gt_known_error@selected/threshold": 0.1,
        "test/gt_known_error@label_free": error - 0.05,
        "test/gt_known_error@oracle": error - 0.2,
        "test/gt_known_error_by_size/0_to_0.15": error + 0.1,
        "test/gt_known_error_by_size/0.15_to_1": error - 0.1,
        "test/max_box_accuracy": 1 - error,
        "test/num_images": images,
        "test/baseline/centre_box/gt_known_error": 0.5,
        "test/baseline/whole_image/gt_known_error": 0.7,
        "test/baseline/whole_image/gt_known_error_by_size/0_to_0.15": 1.0,
    } | further.get("results", {})
    (folder / "results.json").write_text(json.dumps(results | {"specs": stored(specs_of("test"))}))
    curves = {"threshold": [0.0, 0.5, 0.9], "gt_known_error": [error, error - 0.2, 1.0]}
    (folder / "threshold_curves.json").write_text(json.dumps(curves))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make(tmp_path / "runs" / "a0", "Classification", 0, 0.6)
    make(tmp_path / "runs" / "a1", "Classification", 1, 0.64, minutes=50)
    make(tmp_path / "runs" / "b", "HideAndSeek", 0, 0.5)
    make(tmp_path / "runs" / "f", "FewShot", 0, 0.4)
    return tmp_path / "runs"


def boards_of(folder: Path) -> list[Board]:
    return leaderboard(find_runs([folder]))


def test_methods_by_threshold_the_best_first_with_deviations_over_seeds(runs: Path) -> None:
    (board,) = boards_of(runs)
    assert board.title == "Birds, 40 test images"
    plate = board.plates[0]
    assert plate.title == "GT-known error, by threshold"
    assert [(column.key, column.title) for column in plate.columns] == [
        ("test/gt_known_error", "fixed"),
        ("test/gt_known_error@selected", "selected"),
        ("test/gt_known_error@label_free", "label-free"),
        ("test/gt_known_error@oracle", "oracle"),
    ]
    names = [row.name for row in plate.rows]
    assert names == ["FewShot", "HideAndSeek", "Classification", "baseline: centre box", "baseline: whole image"]
    plain = plate.rows[2].cells[0].measure
    assert plain is not None
    assert plain.mean == pytest.approx(0.62)
    assert plain.deviation == pytest.approx(stdev([0.6, 0.64]))
    assert plate.rows[1].cells[0].measure == (0.5, None)
    assert [cell.measure and cell.measure.mean for cell in plate.rows[3].cells] == [0.5, None, None, None]
    assert best(plate) == [{0, 1, 2, 3}, set(), set(), set(), set()], "a baseline is no method"


def test_sizes_and_other_metrics_have_their_own_tables(runs: Path) -> None:
    (board,) = boards_of(runs)
    others = {plate.title: plate for plate in board.plates[1:]}
    further = others["Further metrics"]
    place = [column.key for column in further.columns].index("test/max_box_accuracy")
    # Higher is better there.
    assert [place in columns for columns in best(further)][: len(further.rows)] == [
        row.name == "FewShot" for row in further.rows
    ]
    keys = [column.key for plate in others.values() for column in plate.columns]
    assert "test/gt_known_error_by_size/0_to_0.15" in keys
    assert len(keys) == len(set(keys))
    assert not any("@" in key or "num_images" in key for key in keys)


def test_every_method_on_one_axis_with_the_lines_of_boxes_that_see_nothing(runs: Path) -> None:
    (board,) = boards_of(runs)
    assert board.chart is not None
    assert {(line.label, line.value) for line in board.chart.lines} == {
        ("Classification", "42.00% at 0.5"),
        ("HideAndSeek", "30.00% at 0.5"),
        ("FewShot, trained on boxes", "20.00%"),
        ("baseline: centre box", "50.00%"),
        ("baseline: whole image", "70.00%"),
    }
    dashed = {line.label for line in board.chart.lines if "baseline" in line.style}
    assert dashed == {"FewShot, trained on boxes", "baseline: centre box", "baseline: whole image"}


def test_cost_is_of_each_run_without_the_time_that_it_stood_still(runs: Path) -> None:
    rows = ["time,step,epoch,key,value"]
    rows += [f"2026-03-04T{time}+00:00,1,0,train/loss,1.0" for time in ("05:10:00", "17:00:00", "17:20:00")]
    (runs / "b" / "metrics.csv").write_text("\n".join(rows) + "\n")
    (runs / "b" / "status.json").write_text(json.dumps({"state": "finished", "time": "2026-03-04T17:30:00+00:00"}))
    environment = {"time": "2026-03-04T17:00:00+00:00", "earlier": [{"time": "2026-03-04T05:00:00+00:00"}]}
    (runs / "b" / "environment.json").write_text(json.dumps(environment))
    (board,) = boards_of(runs)
    costs = {cost.name: cost for cost in board.costs}
    assert costs["HideAndSeek"].hours is not None
    assert costs["HideAndSeek"].hours.mean == pytest.approx(40 / 60), "10 minutes, then 30 after the night"
    assert costs["Classification"].hours is not None
    assert costs["Classification"].hours.mean == pytest.approx(40 / 60)
    assert costs["Classification"].seeds == [0, 1]
    assert costs["Classification"].device == "CPU, 4 cores"


@pytest.mark.parametrize(
    ("went_on", "worked"),
    [
        ("05:40:00", 10 + 20),  # half an hour later, which is no less a pause than a night
        (None, 60),  # nothing was logged for most of an hour, and it worked all the same
    ],
)
def test_a_pause_is_what_lies_before_a_run_went_on_however_long(
    tmp_path: Path, went_on: str | None, worked: int
) -> None:
    run = make(tmp_path / "runs" / "a", "Classification", 0, 0.5, minutes=60)
    (run / "metrics.csv").write_text("time,step,epoch,key,value\n2026-03-04T05:10:00+00:00,1,0,train/loss,1.0\n")
    environment = json.loads((run / "environment.json").read_text())
    if went_on is not None:
        environment |= {"time": f"2026-03-04T{went_on}+00:00", "earlier": [{"time": environment["time"]}]}
    (run / "environment.json").write_text(json.dumps(environment))
    (board,) = boards_of(tmp_path / "runs")
    assert board.costs[0].hours is not None
    assert board.costs[0].hours.mean == pytest.approx(worked / 60)


def test_an_evaluation_that_logs_at_its_end_alone_took_all_of_its_hours(tmp_path: Path) -> None:
    run = make(tmp_path / "runs" / "a", "Classification", 0, 0.5, minutes=150)
    (run / "metrics.csv").write_text("time,step,epoch,key,value\n2026-03-04T07:30:00+00:00,0,0,test/loss,1.0\n")
    (board,) = boards_of(tmp_path / "runs")
    assert board.costs[0].hours is not None
    assert board.costs[0].hours.mean == pytest.approx(2.5)


@pytest.mark.parametrize(("cores", "words"), [(1, "CPU, 1 core"), (2, "CPU, 2 cores"), (None, "")])
def test_a_processor_is_said_by_its_cores(tmp_path: Path, cores: int | None, words: str) -> None:
    run = make(tmp_path / "runs" / "g", "Classification", 0, 0.5)
    environment = json.loads((run / "environment.json").read_text())
    environment["devices"] = {"gpu": []} | ({} if cores is None else {"cores": cores})
    (run / "environment.json").write_text(json.dumps(environment))
    (board,) = boards_of(tmp_path / "runs")
    assert [cost.device for cost in board.costs] == [words]


def test_hours_count_every_gpu(tmp_path: Path) -> None:
    run = make(tmp_path / "runs" / "g", "Classification", 0, 0.5, config="")
    environment = json.loads((run / "environment.json").read_text())
    environment["devices"]["gpu"] = ["Big", "Big"]
    (run / "environment.json").write_text(json.dumps(environment))
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("accelerator: cpu", "accelerator: gpu"))
    (board,) = boards_of(tmp_path / "runs")
    assert board.costs[0].hours is not None
    assert board.costs[0].hours.mean == pytest.approx(1.0), "half an hour of two"
    assert board.costs[0].device == "2 × Big"


def test_rows_are_told_apart_by_as_little_as_possible(tmp_path: Path) -> None:
    for seed, (rate, normalise) in enumerate([(0.1, "max"), (0.1, "ivr"), (0.2, "max")]):
        config = f"box: {{normalise: {normalise}}}\nrate: {rate}\n"
        make(tmp_path / "runs" / f"r{seed}", "Classification", 0, 0.5 + seed / 100, config=config)
    (board,) = boards_of(tmp_path / "runs")
    names = {row.name for row in board.plates[0].rows if not row.is_baseline}
    assert names == {
        "Classification, max, rate 0.1", "Classification, ivr, rate 0.1", "Classification, max, rate 0.2"
    }  # fmt: skip


def test_what_the_names_do_not_say_stands_below(tmp_path: Path) -> None:
    """Two methods, judged by two rules: no reader would know from their names."""
    for method, iou in (("Classification", 0.5), ("Spg", 0.7)):
        config = f"metric: {{gt_known_error: {{iou_threshold: {iou}}}}}\nbox: {{threshold: 0.2}}\n"
        make(tmp_path / "runs" / method, method, 0, iou, config=config)
    boards = boards_of(tmp_path / "runs")
    note = "The rows differ in more than their names say: metric.gt_known_error.iou_threshold (0.5, 0.7)"
    assert boards[0].notes == [note]
    assert f"- {note}\n" in as_markdown(boards)
    for seed in range(1, 3):
        make(tmp_path / "same" / f"{seed}", "Spg", seed, 0.5)
    make(tmp_path / "same" / "c", "Classification", 0, 0.6)
    assert boards_of(tmp_path / "same")[0].notes == []


def test_a_mean_over_fewer_runs_than_its_row_has_stands_below(tmp_path: Path) -> None:
    for seed in range(3):
        run = make(tmp_path / f"{seed}", "Classification", seed, 0.5)
    results = json.loads((run / "results.json").read_text())
    results["test/gt_known_error"], results["test/max_box_accuracy"] = None, math.nan
    (run / "results.json").write_text(json.dumps(results))
    assert boards_of(tmp_path)[0].notes == [
        "test/gt_known_error is of 2 of 3 runs: the others have no such number",
        "Classification: test/max_box_accuracy is of 2 of 3 runs: the others have no such number",
    ]


def test_a_method_that_only_changes_the_network_has_its_name(tmp_path: Path) -> None:
    make(tmp_path / "runs" / "a", "classification.Classification", 0, 0.5)
    for number, (method, part) in enumerate([("classification.Classification", "adl.layer"), ("spg.Spg", "spg.Part")]):
        run = make(tmp_path / "runs" / f"p{number}", method, 0, 0.6 + number / 100)
        config = (run / "config.yaml").read_text()
        part = f"{{_target_: mine.{method}, network_part: {{_target_: mine.{part}}}}}"
        (run / "config.yaml").write_text(config.replace(f"{{_target_: mine.{method}}}", part))
    (board,) = boards_of(tmp_path / "runs")
    assert [row.name for row in board.plates[0].rows if not row.is_baseline] == ["Classification", "Adl", "Spg"]


def test_further_maps_and_boxes_of_a_run_stand_beside_its_own(tmp_path: Path) -> None:
    specs = stored(specs_of("test", "ivr"))
    make(tmp_path / "runs" / "a", "Classification", 0, 0.5)
    ivr = {"test/ivr/gt_known_error": 0.4, "test/ivr/gt_known_error@selected": 0.35, "test/ivr/max_box_accuracy": 0.7}
    run = make(tmp_path / "runs" / "b", "Spg", 0, 0.6, results=ivr)
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(results | {"specs": specs}))
    (board,) = boards_of(tmp_path / "runs")
    plate = board.plates[0]
    # By the selected threshold; the run without that arm has one row.
    assert [row.name for row in plate.rows if not row.is_baseline] == ["Spg, ivr", "Classification", "Spg"]
    assert [cell.measure and cell.measure.mean for cell in plate.rows[0].cells] == [0.4, 0.35, None, None]
    assert plate.columns[0].key == "test/gt_known_error"
    assert [cost.name for cost in board.costs] == ["Classification", "Spg"], "one run, one cost"


def test_other_test_images_are_another_board_and_evaluations_of_checkpoints_are_seeds(tmp_path: Path) -> None:
    make(tmp_path / "runs" / "a", "Classification", 0, 0.5)
    make(tmp_path / "runs" / "b", "Classification", 0, 0.5, images=41)
    for seed in (0, 1):
        make(tmp_path / "runs" / f"e{seed}", "Spg", seed, 0.5, config=f"checkpoint: runs/{seed}/last.ckpt\n")
    boards = boards_of(tmp_path / "runs")
    assert [board.title for board in boards] == ["Birds, 40 test images", "Birds, 41 test images"]
    assert {cost.name: len(cost.seeds) for cost in boards[0].costs} == {"Classification": 1, "Spg": 2}


def test_evaluations_of_unlike_trainings_have_no_mean(tmp_path: Path) -> None:
    of = {"a": (0, 5, "last"), "b": (1, 5, "last"), "c": (2, 50, "last"), "d": (0, 5, "best")}
    for name, (seed, epochs, file) in of.items():
        training = tmp_path / "trained" / name
        (training / "checkpoints").mkdir(parents=True)
        (training / "config.yaml").write_text(f"trainer: {{max_epochs: {epochs}}}\n")
        checkpoint = f"checkpoint: {training}/checkpoints/{file}.ckpt\n"
        make(tmp_path / "runs" / name, "Classification", seed, 0.5, config=checkpoint)
    (board,) = boards_of(tmp_path / "runs")
    rows = [row for row in board.plates[0].rows if not row.is_baseline]
    assert sorted(sorted(run.path.name for run in row.runs) for row in rows) == [["a", "b"], ["c"], ["d"]]


def test_every_format_says_the_same(runs: Path, tmp_path: Path) -> None:
    make(runs / "h", HOSTILE.replace(".", ""), 0, 0.9)
    boards = boards_of(runs)
    rows = list(csv.DictReader(io.StringIO(as_csv(boards))))
    plain = [row for row in rows if row["method"] == "Classification" and row["key"] == "test/gt_known_error"]
    assert [(float(row["mean"]), row["runs"]) for row in plain] == [(pytest.approx(0.62), "2")]
    markdown, latex = as_markdown(boards), as_latex(boards)
    assert "| Classification | 2 | 62.00 ± 2.83 % | 52.00 ± 2.83 % |" in markdown
    assert "| FewShot | 1 | **40.00 %** | **30.00 %** |" in markdown
    assert r"Classification & 62.00 $\pm$ 2.83 & 52.00 $\pm$ 2.83 &" in latex
    assert r"<b>A\&B\_100\%</b>" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == len(boards[0].plates)
    for line in latex.splitlines():
        if line.endswith(r"\\"):
            assert not re.search(r"(?<!\\)[%#_]", line)
    page = write_leaderboard(boards, tmp_path / "board.html", "Mine").read_text()
    assert HOSTILE not in page
    assert "62.00 ± 2.83 %" in page
    assert page.count("<polyline") >= 5


def test_the_command(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(runs), "--output", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"leaderboard.{e}" for e in ("html", "md", "csv", "tex")
    }
    assert capsys.readouterr().out == (tmp_path / "out" / "leaderboard.md").read_text()
    (runs / "a0" / "status.json").write_text('{"state": "failed"}')
    assert main([str(runs / "a0")]) == 2
    assert "error: no run has finished with results on a test split" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere")]) == 2
    assert read_run(runs / "b").numbers["test/gt_known_error"] == 0.5


def predictions(run: Path, *ids: str) -> None:
    """As much of a run's table of predictions as says which images it has seen."""
    write_predictions(run / "predictions.csv", [Prediction(identity) for identity in ids])


def test_equally_many_other_images_are_another_board(tmp_path: Path) -> None:
    """Imagenette and Imagewoof both have 500 official validation photos; copies of one may lie in other folders."""
    for name, root, ids in (
        ("a0", "imagenette2", ("val/n01440764/ILSVRC2012_val_1.JPEG", "train/n02102040/ILSVRC2012_val_2.JPEG")),
        ("a1", "imagenette2-160.zip", ("val/n02102040/ILSVRC2012_val_2.JPEG", "val/n01440764/ILSVRC2012_val_1.JPEG")),
        ("woof", "imagewoof2", ("val/n02086240/ILSVRC2012_val_3.JPEG", "val/n02087394/ILSVRC2012_val_4.JPEG")),
        ("silent", "elsewhere", ()),
    ):
        run = make(tmp_path / name, "Classification", 0, 0.5)
        config = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(config.replace("mine.Birds}", f"mine.Birds, root: /data/{root}}}"))
        if ids:
            predictions(run, *ids)
    found = {board.title: {run.path.name for row in board.plates[0].rows for run in row.runs}
             for board in boards_of(tmp_path)}  # fmt: skip
    assert found == {
        "Birds, 40 test images, set 1: imagenette2, imagenette2-160.zip": {"a0", "a1"},
        "Birds, 40 test images, not known which: elsewhere": {"silent"},
        "Birds, 40 test images, set 3: imagewoof2": {"woof"},
    }
    shutil.rmtree(tmp_path / "woof")
    (board,) = boards_of(tmp_path)
    assert board.title == "Birds, 40 test images"
    assert {run.path.name for row in board.plates[0].rows for run in row.runs} == {"a0", "a1", "silent"}


def test_images_of_several_classes_are_told_by_their_own_names(tmp_path: Path) -> None:
    for name, image in (("a", "2007_000027"), ("b", "2008_000008")):
        predictions(make(tmp_path / name, "MultiLabel", 0, 0.5), f"{image}/person", f"{image}/horse")
    assert len(boards_of(tmp_path)) == 2


def test_files_of_one_name_in_other_classes_are_other_images(tmp_path: Path) -> None:
    for name, classes in (("a", ("cat", "dog")), ("again", ("cat", "dog")), ("b", ("cat", "bird"))):
        run = make(tmp_path / name, f"Method{name}", 0, 0.5)
        rows = [Prediction(f"{each}/image_0001.jpg", label_name=each) for each in classes]
        write_predictions(run / "predictions.csv", rows)
    assert [len(board.plates[0].rows) - 2 for board in boards_of(tmp_path)] == [2, 1]


def test_hits_at_several_overlaps_have_no_mean(tmp_path: Path) -> None:
    for name, overlap, error in (("a", 0.5, 0.6), ("b", 0.5, 0.6), ("c", 0.3, 0.2)):
        results = {"test/baseline/centre_box/gt_known_error": error}
        make(tmp_path / name, f"Method{name}", 0, 0.5, config=f"hit_iou: {overlap}\n", results=results)
    centre = {
        board.title: row.cells[0].measure
        for board in boards_of(tmp_path)
        for row in board.plates[0].rows
        if row.name == "baseline: centre box"
    }
    assert centre == {
        "Birds, 40 test images, hits from IoU 0.5 on": (0.6, 0.0),
        "Birds, 40 test images, hits from IoU 0.3 on": (0.2, None),
    }


def test_centre_boxes_of_several_sizes_have_no_mean(tmp_path: Path) -> None:
    for name, size, error in (("a", 0.75, 0.5), ("b", 0.75, 0.5), ("c", 0.65, 0.3)):
        results = {"protocol/baseline/centre_box": size, "test/baseline/centre_box/gt_known_error": error}
        make(tmp_path / name, f"Method{name}", 0, 0.6, results=results)
    (board,) = boards_of(tmp_path)
    blind = {row.name: row.cells[0].measure for row in board.plates[0].rows if row.is_baseline}
    assert blind["baseline: centre box of 0.75"] == (0.5, 0.0)
    assert blind["baseline: centre box of 0.65"] == (0.3, None)
    assert blind["baseline: whole image"] == (pytest.approx(0.7), pytest.approx(0))
    assert board.chart is not None
    assert ("baseline: centre box of 0.65", "30.00%") in {(line.label, line.value) for line in board.chart.lines}


def test_runs_of_two_machines_name_both(tmp_path: Path) -> None:
    for seed, cores in enumerate((2, 4, 2)):
        run = make(tmp_path / f"{seed}", "Classification", seed, 0.5)
        environment = json.loads((run / "environment.json").read_text())
        environment["devices"]["cores"] = cores
        (run / "environment.json").write_text(json.dumps(environment))
    (board,) = boards_of(tmp_path)
    assert [cost.device for cost in board.costs] == ["CPU, 2 cores and CPU, 4 cores"]


def test_runs_of_which_no_number_is_better_than_another_have_no_table_and_lose_no_other_board(tmp_path: Path) -> None:
    """A probe of images without boxes, for one, may have counts alone."""
    run = make(tmp_path / "counts", "Classification", 0, 0.5)
    results = {"test/num_images": 7, "specs": {"test/num_images": {"title": "images", "kind": "count", "better": None}}}
    (run / "results.json").write_text(json.dumps(results))
    (run / "threshold_curves.json").unlink()
    make(tmp_path / "others", "Classification", 0, 0.5)
    boards = boards_of(tmp_path)
    assert {board.title: bool(board.plates) for board in boards} == {
        "Birds, 7 test images": False, "Birds, 40 test images": True
    }  # fmt: skip
    assert "## Birds, 7 test images\n\n### Cost" in as_markdown(boards)
