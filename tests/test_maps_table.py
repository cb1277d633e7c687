"""`experiments.maps`: what it would run, and what its table says of finished runs."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import hydra
import pytest

from cam_lightning.launch.argument import readable
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.place import CONF, VERSION_BASE
from experiments.maps.__main__ import main
from experiments.maps.runs import CHEAP, DEAR, NETWORKS, maps_table
from experiments.maps.table import COLUMNS, markdown, read_rows, spreadsheet
from experiments.paper.runs import planned


def finished(path: Path, arms: tuple[str, ...], every: float) -> None:
    """A run whose numbers follow from the map's place, and its costs."""
    path.mkdir(parents=True)
    results: dict[str, object] = {"test/num_images": 500, "test/baseline/centre_box/gt_known_error": 0.486}
    results["test/randomized_weights/gt_known_error"] = 0.75
    for number, name in enumerate(arms):
        prefix = "test/" if number == 0 else f"test/{name}/"
        results |= {prefix + key: every + number / 100 for key in COLUMNS if key != "insertion" or number != 1}
    for name, content in (
        ("results", results), ("cost", {name: 0.5 + number for number, name in enumerate(arms)}),
        ("status", {"state": "finished"}),
    ):  # fmt: skip
        (path / f"{name}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["cheap", "dear", "random_weights"])
def test_every_run_is_a_command_that_composes(kind: str, tmp_path: Path) -> None:
    plan = planned(maps_table(25), tmp_path, ["dataset.root=photos.zip"], {}, [0])
    assert len(plan) == 3 * len(NETWORKS)
    (job,) = (job for job in plan if job.run.name == f"googlenet/{kind}")
    entry, *overrides = job.command
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        config = hydra.compose(entry, overrides=readable(list(overrides)))
    cams = {"cheap": CHEAP, "dear": DEAR, "random_weights": ("cam",)}[kind]
    assert ("cam", *config.further.cam) == cams
    assert config.cam._target_.endswith("ClassActivationMap")
    assert config.dataset.test_every == 1
    assert "predictions" not in config.callback.localization.sinks
    assert ("randomized_weights" in config.evaluator) == (kind != "dear")
    if kind != "random_weights":
        assert config.evaluator.deletion_insertion.every == 25
    assert job.lacks


def test_the_table_has_a_line_for_every_map_of_what_is_finished(tmp_path: Path) -> None:
    finished(tmp_path / "googlenet" / "cheap" / "0", CHEAP, 0.2)
    finished(tmp_path / "googlenet" / "dear" / "0", DEAR, 0.3)
    finished(tmp_path / "googlenet" / "random_weights" / "0", ("cam",), 0.7)
    finished(tmp_path / "squeezenet1_1" / "cheap" / "0", CHEAP, 0.1)
    (tmp_path / "squeezenet1_1" / "cheap" / "0" / "status.json").write_text('{"state": "running"}')
    rows = read_rows(tmp_path)
    assert [row.cam for row in rows] == [*CHEAP, *DEAR[1:], "cam, random weights", "centre box"]
    assert {row.network for row in rows} == {"googlenet"}
    text = markdown(rows, 25)
    assert "every 25th photo" in text
    assert "| `cam` | 500 | 20.0 | 20.0 | 20.0 | 0.200 | 0.200 | 0.200 | 0.50 |" in text
    assert "| `grad_cam` | 500 | 21.0 | 21.0 | 21.0 | 0.210 |  | 0.210 | 1.50 |" in text
    assert "| `cam` | 500 | 30.0 |" not in text, "told by the other run"
    assert "| `score_cam` | 500 | 31.0 |" in text
    assert "| cam, random weights | 500 | 75.0 |  |  |  |  |  |  |" in text
    assert "| centre box | 500 | 48.6 |  |  |  |  |  |  |" in text
    assert "SqueezeNet 1.1\n" not in text
    read = list(csv.DictReader(spreadsheet(rows).splitlines()))
    assert len(read) == len(rows)
    assert (read[1]["map"], read[1]["insertion"]) == ("grad_cam", "")
    assert float(read[1]["deletion"]) == pytest.approx(0.21)


def test_a_run_of_an_earlier_list_of_maps_has_the_rows_of_its_own(tmp_path: Path) -> None:
    finished(tmp_path / "googlenet" / "cheap" / "0", (*CHEAP[:3], "gone"), 0.2)
    assert [row.cam for row in read_rows(tmp_path)] == list(CHEAP[:3])


def test_the_page_says_of_how_many_photos_its_runs_are_whatever_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["maps", str(tmp_path), "--report-only"])
    with pytest.raises(SystemExit, match="holds no finished run"):
        main()
    run = tmp_path / "googlenet" / "cheap" / "0"
    finished(run, CHEAP, 0.2)
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(results | {"protocol/evaluator/deletion_insertion/every": 5}))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    text = (tmp_path / "maps.md").read_text()
    assert "every 5th photo" in text
    assert "every 20th" not in text


def test_the_command_lists_what_it_would_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["maps", str(tmp_path), "dataset.root=photos.zip", "--list"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert all("run_dir=" in line for line in lines)
    assert not list(tmp_path.iterdir())
