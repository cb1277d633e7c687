"""`experiments.kept`: a finished run whose command was another one is kept, and never unsaid."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from cam_lightning.launch.argument import readable
from experiments.kept import made_otherwise
from experiments.paper.outcome import read_outcomes
from experiments.paper.runs import planned, run_missing, state
from experiments.paper.sections import sections
from experiments.paper.table import Row, Run, Table
from experiments.table4 import finished

COMMAND = (
    "probe", "experiment=[paper/table5_scene15,paper/table5_network/googlenet]", "dataset.root=/data/it's scenes",
    "backbone.weights=/old/googlenet.pth", "test=false",
)  # fmt: skip


def ran(path: Path, entry: str, *overrides: str) -> None:
    """A finished run, with its command as an entry point writes it down."""
    path.mkdir(parents=True)
    words = ["python", "-m", f"cam_lightning.{entry}", *readable([*overrides, f"run_dir={path}"])]
    (path / "status.json").write_text(json.dumps({"state": "finished", "command": shlex.join(words)}))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (COMMAND, ""),
        ([word.replace("/data/", "/elsewhere/").replace("/old/", "") for word in COMMAND], ""),
        ((*COMMAND, "normalise=true"), "without normalise=true"),
        (COMMAND[:-1], "with test=false"),
        ([word.replace("googlenet.pth", "other.pth") for word in COMMAND],
         "with backbone.weights=googlenet.pth, without backbone.weights=other.pth"),
        (("evaluate", *COMMAND[1:]), "with cam_lightning.probe, without cam_lightning.evaluate"),
    ],
)  # fmt: skip
def test_what_differs_is_said_but_not_where_files_lie(
    tmp_path: Path, now: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(tmp_path / "run", *COMMAND)
    assert made_otherwise(tmp_path / "run", now) == said
    assert finished(tmp_path / "run", [*now])
    line = f"{tmp_path / 'run'} is kept as it is, though it was made {said}: remove it to have it made anew\n"
    assert capsys.readouterr().out == (line if said else "")


def test_several_maps_are_the_same_command_as_they_are_typed(tmp_path: Path) -> None:
    typed = ("evaluate", "cam=[cam,grad_cam]", "box=[largest_component,distance_transform]")
    ran(tmp_path / "run", *typed)
    assert made_otherwise(tmp_path / "run", typed) == ""
    assert made_otherwise(tmp_path / "run", ("evaluate", "cam=cam", typed[2])).startswith("with +cam@further.cam")


def test_of_a_resumed_training_or_none_nothing_is_known(tmp_path: Path) -> None:
    ran(tmp_path / "run", "train", f"resume={tmp_path}/run")
    assert made_otherwise(tmp_path / "run", ("train", "seed=7")) == ""
    assert made_otherwise(tmp_path / "nowhere", ("train", "seed=7")) == ""


def test_a_page_has_the_command_that_was_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("t", "T", "About.", (Run("a", ("experiment=mine",), "evaluate"),), (Row("a", "A", "a"),))
    ran(tmp_path / "a" / "0", "evaluate", "experiment=mine", "dataset.root=birds")
    assert state(tmp_path / "a" / "0") == "finished"
    (tmp_path / "a" / "0" / "results.json").write_text('{"test/num_images": 3}')
    environment = {"time": "2026-03-04T05:00:00+00:00"}
    (tmp_path / "a" / "0" / "environment.json").write_text(json.dumps(environment))
    status = json.loads((tmp_path / "a" / "0" / "status.json").read_text())
    (tmp_path / "a" / "0" / "status.json").write_text(json.dumps(status | environment))
    plan = planned(table, tmp_path, ["dataset.root=cats"], {}, [0])
    assert run_missing(plan)
    assert "with dataset.root=birds, without dataset.root=cats" in capsys.readouterr().out
    page = sections(table, tmp_path, read_outcomes(table, tmp_path), plan)
    (made,) = (section.parts[0] for section in page if section.title == "How each row was made")
    assert made.rows[0][-1] == "python -m cam_lightning.evaluate experiment=mine dataset.root=birds"  # type: ignore[union-attr]
