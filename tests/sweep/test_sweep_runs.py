"""Whole sweeps, of tiny runs, through every launcher that one machine can show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TINY = [
    "dataset.num_train=40",
    "dataset.num_test=11",
    "dataset.image_size=48",
    "dataset.train_size=48",
    "dataset.batch_size=4",
    "dataset.val_fraction=0.25",
    "backbone.width=0.25",
    "callback.localization.sinks.overlays.count=2",
    "trainer=cpu",
    "trainer.max_epochs=1",
]


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = begin(folder, *arguments)
    out, err = process.communicate(timeout=1200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cam_lightning.train", "-m", *TINY, f"paths.runs={folder}", "sweep=s", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)


def states(folder: Path) -> dict[str, str]:
    return {
        path.parent.name.rpartition("_")[0]: json.loads(path.read_text())["state"]
        for path in sorted((folder / "s").glob("*/status.json"))
    }


def test_two_backbones_two_seeds_two_processes_each(tmp_path: Path) -> None:
    """DistributedDataParallel inside a sweep: children that saw `-m` would run the whole sweep again."""
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    done = sweep(tmp_path, "backbone=googlenet_gap,googlenet_gmp", "seed=1,2", "trainer.devices=2", "logger=wandb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(tmp_path) == {
        f"backbone-{backbone}_seed-{seed}": "finished"
        for backbone in ("googlenet_gap", "googlenet_gmp")
        for seed in (1, 2)
    }
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    runs = list((tmp_path / "s").glob("*/wandb/offline-run-*/*.wandb"))
    assert len(runs) == 4
    for path in (tmp_path / "s").glob("*/results.json"):
        assert json.loads(path.read_text())["test/num_images"] == 11
    assert "backbone.pool" in done.stdout
    assert (tmp_path / "s" / "report.html").is_file()


@pytest.mark.parametrize(
    "launcher",
    [
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=20"),
    ],
    ids=("joblib", "submitit"),
)
def test_two_jobs_at_once_of_which_one_fails(launcher: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra `sweep` is not installed")
    done = sweep(tmp_path, *launcher, "method.learning_rate=0.01,1e30")
    assert done.returncode == 1, done.stdout + done.stderr
    assert states(tmp_path) == {"learning_rate-0.01": "finished", "learning_rate-1e+30": "failed"}
    assert "Lower method.learning_rate" in done.stdout
    again = sweep(tmp_path, *launcher, "method.learning_rate=0.01,1e30")
    assert again.returncode == 1
    assert again.stdout.count("finished before, so skipped: learning_rate-0.01") == 1
    assert len(list((tmp_path / "s" / "earlier").iterdir())) == 1


@pytest.mark.parametrize("second", ["seed=1,2", "seed=2,3"], ids=("the same jobs", "some of the same jobs"))
def test_two_sweeps_at_the_same_moment_in_one_folder_lose_nothing(second: str, tmp_path: Path) -> None:
    """Each job is run once, by either; both commands end well, with the table over all of them."""
    sweeps = [begin(tmp_path, seeds) for seeds in ("seed=1,2", second)]
    said = [process.communicate(timeout=1200) for process in sweeps]
    assert [process.returncode for process in sweeps] == [0, 0], said
    seeds = {1, 2} | {int(seed) for seed in second.partition("=")[2].split(",")}
    assert states(tmp_path) == {f"seed-{seed}": "finished" for seed in seeds}
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert not (tmp_path / "s" / "earlier").exists(), "no job was begun twice"
    for path in (tmp_path / "s").glob("*/results.json"):
        assert json.loads(path.read_text())["test/num_images"] == 11
    assert len(list((tmp_path / "s").glob("*/results.json"))) == len(seeds)
    for out, err in said:
        assert "Traceback" not in out + err
    assert len((tmp_path / "s" / "results.csv").read_text().splitlines()) > 1
