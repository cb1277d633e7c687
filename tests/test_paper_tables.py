"""`experiments.paper`: what it would run, what it reads of finished runs, how it judges, and what its page says."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_every_experiment import ilsvrc_tree

from cam_lightning.backbone.googlenet import googlenet
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.place import CONF
from cam_lightning.run.prediction_table import Prediction, write_predictions
from experiments.paper.__main__ import main
from experiments.paper.outcome import difference, read_outcomes, verdict
from experiments.paper.page import html, markdown
from experiments.paper.runs import planned, run_missing
from experiments.paper.sections import sections, without_places
from experiments.paper.table import Claim, Row, Run, Table
from experiments.paper.tables import TABLES

TABLE = Table(
    "toy",
    "A table of two networks",
    "About it.",
    (
        Run("gap", ("experiment=paper/imagenette/googlenet_gap",), weights="googlenet", hours=0.4),
        Run("gap_backprop", ("cam=backprop",), "evaluate", of="gap"),
        Run("plain", ("experiment=paper/imagenette/googlenet_published",), "evaluate", weights="googlenet"),
    ),
    (
        Row("gap", "GAP", "gap", "", (35.0, 13.2), (56.4, 43.0)),
        Row("backprop", "Backprop on GAP", "gap_backprop"),
        Row("heuristic", "GAP, five guesses", "gap_backprop", "top5_heuristic"),
        Row("plain", "plain | as published", "plain", "", None, (60.09, 49.34)),
    ),
    (
        Claim("GAP is better", "gap", "plain"),
        Claim("GAP is worse", "plain", "gap"),
        Claim("GAP costs little", "gap", "plain", "classification_error/top1", 2.0),
        Claim("Five guesses help", "heuristic", "gap", "localization_error/top5"),
    ),
)


def _iou(is_right: bool) -> float:
    return 0.75 if is_right else 0.25


@pytest.fixture
def finish(tmp_path: Path) -> Callable[..., Path]:
    """Writes a finished run: which images' true class is boxed right, and which class is guessed."""

    def write(name: str, seed: int, boxed: Sequence[bool], guessed: Sequence[bool], **more: float) -> Path:
        path = tmp_path / name / str(seed)
        run = RunDirectory.create(tmp_path, "run", path)
        rows = [
            Prediction(
                id=f"image {i}", label=0, label_name="tench", width=10, height=8, truth_boxes=[[0, 0, 5, 5]],
                classes=[0, 1] if guess else [1, 0], names=["a", "b"], class_ids=["a", "b"], probabilities=[0.9, 0.1],
                boxes=[[0, 0, 5, 5], [0, 0, 5, 5]], ranks=[0, 1], ious=[_iou(box), _iou(box)],
                gt_known_box=[0, 0, 5, 5], gt_known_iou=_iou(box),
            )
            for i, (box, guess) in enumerate(zip(boxed, guessed, strict=True))
        ]  # fmt: skip
        write_predictions(path / "predictions.csv", rows)
        box_N, guess_N = np.array(boxed), np.array(guessed)
        results: dict[str, Any] = {
            "test/num_images": len(rows),
            "test/gt_known_error": 1 - box_N.mean(),
            "test/gt_known_error_by_size/0_to_0.3": 0.5,
            "test/gt_known_error_by_size/0_to_0.3/num_images": 3,
            "test/gt_known_error_by_size/0.3_to_1": 0.25,
            "test/localization_error/top1": 1 - (box_N & guess_N).mean(),
            "test/localization_error/top5": 1 - box_N.mean(),
            "test/classification_error/top1": 1 - guess_N.mean(),
            "test/classification_error/top5": 0.0,
            "test/baseline/centre_box/gt_known_error": 0.486,
            "test/baseline/whole_image/gt_known_error": 0.632,
            "protocol/metric/gt_known_error/iou_threshold": 0.5,
            **more,
        }
        run.write_json("results.json", results)
        git = {"commit": "0123456789abcdef", "is_dirty": False}
        devices = {"cpu": "A processor", "cores": 2, "gpu": []}
        run.write_json("environment.json", {"time": "2026-01-01T00:00:00+00:00", "git": git, "devices": devices})
        run.write_status("finished", f"python -m cam_lightning.train dataset.root=/somewhere/imagenette run_dir={path}")
        return path

    return write


# The tables themselves


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_a_table_s_parts_know_each_other(table: Table) -> None:
    runs, rows = [run.name for run in table.runs], [row.name for row in table.rows]
    assert len(set(runs)) == len(runs)
    assert len(set(rows)) == len(rows)
    assert {row.run for row in table.rows} <= set(runs)
    assert {name for claim in table.claims for name in (claim.lower, claim.higher)} <= set(rows)
    for position, run in enumerate(table.runs):
        assert not run.of or run.of in runs[:position], run.name
        assert run.of or any(option.startswith("experiment=") for option in run.options)
        assert run.of or run.weights
        assert run.hours > 0
        for option in run.options:
            key, _, value = option.partition("=")
            if key == "experiment":
                assert (CONF / "experiment" / f"{value}.yaml").is_file()


def test_the_paper_s_numbers() -> None:
    """Tables 1 and 2 by heart, in the order of their columns."""
    first = {row.title: row.classification for row in TABLES["table1"].rows}
    assert first["VGGnet-GAP"] == (33.4, 12.2)
    assert first["NIN"] == (41.9, 19.6)
    assert len(first) == 9
    second = {row.title: row.localization for row in TABLES["table2"].rows}
    assert second["GoogLeNet-GAP"] == (56.40, 43.00)
    assert second["Backprop on AlexNet"] == (65.17, 52.64)
    for row in TABLES["imagenette"].rows:
        same = [other for other in TABLES["table2"].rows if other.title == row.title]
        assert not same or same[0].localization == row.localization


# What would be run


def test_a_plan_goes_seed_by_seed_and_evaluates_what_it_has_trained(tmp_path: Path) -> None:
    plan = planned(TABLE, tmp_path, ["dataset.root=data.zip"], {"googlenet": Path("/w.pth")}, [0, 3])
    assert [(job.run.name, job.seed) for job in plan] == [
        ("gap", 0), ("gap_backprop", 0), ("plain", 0), ("gap", 3), ("gap_backprop", 3),
    ]  # fmt: skip
    options = ["dataset.root=data.zip", "backbone.weights=/w.pth"]
    assert plan[0].command == ("train", *TABLE.runs[0].options, *options, "seed=0")
    assert plan[4].command == (
        "evaluate",
        f"checkpoint={tmp_path / 'gap' / '3'}",
        "cam=backprop",
        "++dataset.root=data.zip",
    )
    assert plan[2].command == ("evaluate", *TABLE.runs[2].options, *options)
    assert not any(job.lacks for job in plan)


def test_only_some_runs_bring_what_they_need(tmp_path: Path) -> None:
    names = [job.run.name for job in planned(TABLE, tmp_path, [], {}, [0], ["gap_backprop"])]
    assert names == ["gap", "gap_backprop"]
    with pytest.raises(ValueError, match="toy has no run gmp; it has gap, gap_backprop, plain"):
        planned(TABLE, tmp_path, [], {}, [0], ["gmp"])
    with pytest.raises(ValueError, match="--seeds needs a number"):
        planned(TABLE, tmp_path, [], {}, [])


def test_runs_without_weights_are_left_out_and_finished_ones_stay(
    tmp_path: Path, finish: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    finish("gap", 0, [True], [True])
    plan = planned(TABLE, tmp_path, [], {}, [0], ["gap", "plain"])
    assert [job.lacks for job in plan] == ["no weights were given: --weights googlenet=FILE"] * 2
    assert not run_missing(plan)
    said = capfd.readouterr().out
    assert "plain, seed 0: left out, no weights were given" in said
    assert "gap, seed 0" not in said
    assert run_missing(plan[:1])


# What finished runs say


def test_a_difference_is_that_of_the_same_images(tmp_path: Path, finish: Callable[..., Path]) -> None:
    first, second, other = [True, True, True, False], [True, False, False, False], [False, True, False, True]
    finish("gap", 0, first, [True] * 4)
    finish("gap", 1, second, [True] * 4)
    finish("plain", 0, other, [True] * 4)
    outcomes = read_outcomes(TABLE, tmp_path)
    assert set(outcomes) == {"gap", "plain"}
    found = difference(outcomes["gap"], outcomes["plain"], "gt_known_error")
    differences = [
        ((not a) + (not b)) / 2 - (not c) for a, b, c in zip(first, second, other, strict=True)
    ]  # fmt: skip
    mean = sum(differences) / 4
    error = math.sqrt(sum((value - mean) ** 2 for value in differences) / 3 / 4)
    assert found == pytest.approx((mean, error))


def test_a_further_arm_has_no_images_of_its_own(tmp_path: Path, finish: Callable[..., Path]) -> None:
    finish("gap", 0, [True, False, False, False], [True] * 4)
    finish("gap_backprop", 0, [True] * 4, [True] * 4, **{"test/top5_heuristic/localization_error/top5": 0.25})
    outcomes = read_outcomes(TABLE, tmp_path)
    found = difference(outcomes["heuristic"], outcomes["gap"], "localization_error/top5")
    assert found == pytest.approx((-0.5, math.sqrt((0.25 * 0.75 + 0.75 * 0.25) / 4)))
    assert difference(outcomes["heuristic"], outcomes["gap"], "gt_known_error") is None


def test_tables_that_disagree_are_an_error(tmp_path: Path, finish: Callable[..., Path]) -> None:
    finish("gap", 0, [True, False], [True, True], **{"test/gt_known_error": 0.25})
    finish("plain", 0, [True, False], [True, True])
    with pytest.raises(ValueError, match=r"gap/0: predictions\.csv and results\.json disagree on gt_known_error"):
        verdict(TABLE.claims[0], read_outcomes(TABLE, tmp_path))


def test_claims_are_judged_by_how_far_apart_the_errors_are(tmp_path: Path, finish: Callable[..., Path]) -> None:
    finish("gap", 0, [True] * 90 + [False] * 10, [True] * 95 + [False] * 5)
    finish("plain", 0, [True] * 50 + [False] * 50, [True] * 96 + [False] * 4)
    outcomes = read_outcomes(TABLE, tmp_path)
    found = [verdict(claim, outcomes) for claim in TABLE.claims]
    assert [name for name, _ in found] == ["reproduced", "not reproduced", "not told apart", "not run"]
    assert found[0][1] == "10.0 against 50.0 %: -40.0 ± 4.9 points (1 seed)"
    assert found[2][1] == "5.0 against 4.0 %: +1.0 ± 1.0 points (1 seed)"


# The page


def test_a_page_sets_numbers_beside_the_paper_s_and_says_what_is_missing(
    tmp_path: Path, finish: Callable[..., Path]
) -> None:
    finish("gap", 0, [True] * 6 + [False] * 4, [True] * 10)
    finish("gap", 1, [True] * 8 + [False] * 2, [True] * 10)
    plan = planned(TABLE, tmp_path, ["dataset.root=/somewhere/data.zip"], {"googlenet": Path("/x/w.pth")}, [0, 1, 2])
    content = sections(TABLE, tmp_path, read_outcomes(TABLE, tmp_path), plan)
    page = markdown(content)
    assert page.startswith("# A table of two networks\n\nAbout it.\n\n10 test images.")
    assert "| GAP | 0, 1 | 30.0 ± 14.1 | 48.6 | 63.2 | – | – |" in page
    assert "| GAP | 0, 1 | 30.0 ± 14.1 | – | – | 56.4 | -26.4 | 30.0 ± 14.1 | – | – | 43.0 | -13.0 |" in page
    assert "|  | 0 to 0.3: 3 images | 0.3 to 1 |" in page
    assert "| GAP | 012345678 | A processor, 2 cores | " in page
    assert "| GAP is better | not run | GT-known | – |" in page
    assert "| GAP | 2 | not run yet | 0.4 | python -m cam_lightning.train experiment=paper/imagenette/" in page
    assert "| plain \\| as published | 0 | not run yet |" in page
    assert "python -m experiments.paper toy dataset.root=data.zip --weights googlenet=FILE" in page
    assert str(tmp_path) not in page
    assert "/somewhere" not in page
    status = tmp_path / "gap" / "0" / "status.json"
    status.write_text(status.read_text().replace("dataset.root=", "resume="))
    made = markdown(sections(TABLE, tmp_path, read_outcomes(TABLE, tmp_path), plan))
    assert " after resuming; " in made
    assert "resume=" not in made
    text = html(content, [("figures/figure3.png", "a <caption>")])
    assert "<td>plain | as published</td>" in text
    assert '<img src="figures/figure3.png" alt=""><figcaption>a &lt;caption&gt;</figcaption>' in text
    assert str(tmp_path) not in text


def test_commands_are_shown_without_this_machine_s_places() -> None:
    command = "python -m cam_lightning.evaluate 'checkpoint=/a/b c/gap/0' cam=ten_crop ++dataset.root=/x/y run_dir=/z"
    assert without_places(command) == "python -m cam_lightning.evaluate checkpoint=gap/0 cam=ten_crop ++dataset.root=y"


def test_the_command_says_what_is_wrong_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["experiments.paper", *arguments, "--folder", str(tmp_path / "runs")])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        return capsys.readouterr().err

    assert "--weights takes NAME=FILE, with NAME one of alexnet," in said("imagenette", "--weights", "resnet=x")
    assert "--weights googlenet: there is no file " in said("imagenette", "--weights", "googlenet=nothing.pth")
    assert not (tmp_path / "runs").exists()


def test_a_page_of_nothing_says_so(tmp_path: Path) -> None:
    plan = planned(TABLE, tmp_path, [], {}, [0])
    page = markdown(sections(TABLE, tmp_path, {}, plan))
    assert "Nothing has been run yet." in page
    assert "no weights were given: --weights googlenet=FILE" in page
    assert json.dumps(str(tmp_path)) not in page


@pytest.mark.slow
def test_a_command_runs_what_is_missing_and_draws(tmp_path: Path) -> None:
    """A training and the evaluation of its checkpoint, the page and the figures; then nothing is left to run."""
    root, metadata = ilsvrc_tree(tmp_path / "ILSVRC", tmp_path / "metadata")
    torch.save(googlenet(1000, "caffe").state_dict(), tmp_path / "googlenet.pth")
    options = [
        f"dataset.root={root}", f"dataset.metadata={metadata}", "dataset.cache=null", "dataset.image_size=64",
        "dataset.batch_size=2", "dataset.train_size=null", "trainer=cpu", "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1", "trainer.limit_train_batches=2",
    ]  # fmt: skip
    command = [
        sys.executable, "-m", "experiments.paper", "imagenette", *options, "--folder", str(tmp_path / "runs"),
        "--weights", f"googlenet={tmp_path / 'googlenet.pth'}", "--seeds", "5", "--only", "googlenet_gap_backprop",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CONF.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("python -m cam_lightning.") == 2
    page = (tmp_path / "runs" / "page.md").read_text()
    assert "| GoogLeNet-GAP | 5 | " in page
    assert "| Backprop on GoogLeNet-GAP | 5 | " in page
    assert "4 test images" in page
    assert str(tmp_path) not in page
    figures = sorted(path.name for path in (tmp_path / "runs" / "figures").iterdir())
    assert figures == ["figure3.png", "figure4.png", "figure6.png"]
    assert all(f'src="figures/{name}"' in (tmp_path / "runs" / "page.html").read_text() for name in figures)
    again = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CONF.parent)
    assert again.returncode == 0
    assert "python -m cam_lightning." not in again.stdout
    assert (tmp_path / "runs" / "page.md").read_text() == page
