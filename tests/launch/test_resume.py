"""`resume=RUN`: the run's own configuration, the last checkpoint that can be read, the same end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.launch.stored import resumed_config
from cam_lightning.run.checkpoint import newest_checkpoint
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE


@pytest.fixture(autouse=True)
def _outside_of_any_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (RUN_DIR_VARIABLE, "LOCAL_RANK"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@pytest.fixture
def cut_off(tmp_path: Path) -> RunDirectory:
    """A run that was interrupted, without its checkpoints."""
    run = RunDirectory.create(tmp_path, "x", tmp_path / "run")
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        config = hydra.compose("train", overrides=[f"run_dir={run.path}", "seed=7", "method/schedule=step"])
    run.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))
    run.write_status("interrupted", "command")
    return run


def test_a_run_goes_on_with_its_own_configuration(cut_off: RunDirectory) -> None:
    config = resumed_config(cut_off, [f"resume={cut_off.path}", "trainer.max_epochs=90", "seed=7"])
    assert (config.seed, config.dataset.seed) == (7, 7)
    assert config.trainer.max_epochs == 90
    assert config.run_dir == str(cut_off.path)


@pytest.mark.parametrize("override", ["seed=8", "trainer.devices=2", "method.learning_rate=1", "dataset=shapes",
                                      "dataset.root=/x", "+new=1"])  # fmt: skip
def test_what_would_change_a_number_is_refused(cut_off: RunDirectory, override: str) -> None:
    """Also a harmless option that this run does not have."""
    key = override.partition("=")[0].lstrip("+")
    with pytest.raises(ValueError, match=f"{key} cannot be given with resume="):
        resumed_config(cut_off, [override])


def test_an_option_may_be_given_with_or_without_its_sign(cut_off: RunDirectory) -> None:
    assert resumed_config(cut_off, ["++trainer.max_epochs=90"]).trainer.max_epochs == 90


def test_a_moved_run_finds_its_own_files(cut_off: RunDirectory) -> None:
    moved = cut_off.path.rename(cut_off.path.with_name("it's elsewhere"))
    config = resumed_config(RunDirectory(moved), [])
    assert config.callback.checkpoint.dirpath == f"{moved}/checkpoints"
    assert config.callback.localization.sinks.predictions.run_dir == str(moved)


def test_a_finished_run_is_only_trained_longer(cut_off: RunDirectory) -> None:
    cut_off.write_status("finished", "command")
    with pytest.raises(ValueError, match="is finished; to train it longer"):
        resumed_config(cut_off, [])
    assert resumed_config(cut_off, ["trainer.max_epochs=9"]).trainer.max_epochs == 9


def test_a_schedule_over_all_steps_is_not_stretched(cut_off: RunDirectory) -> None:
    text = (cut_off.path / "config.yaml").read_text()
    plain = "    _partial_: true\n    every"
    assert plain in text
    cut_off.write_text("config.yaml", text.replace(plain, plain.replace("true", "true\n    _fixed_extent_: true")))
    with pytest.raises(ValueError, match=r"cannot change from 8 to 9 in .* laid out over all steps"):
        resumed_config(cut_off, ["trainer.max_epochs=9"])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    cut_off: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    folder = cut_off.path / "checkpoints"
    folder.mkdir()
    assert newest_checkpoint(cut_off) is None, "it starts from the beginning"

    def write(name: str, step: int) -> None:
        position = {"epoch": 0, "batch": step, "step": step}
        torch.save({"cam_lightning": {}, "position": position, "state": torch.zeros(100)}, folder / name)

    write("previous.ckpt", 1)
    write("last.ckpt", 2)
    found = newest_checkpoint(cut_off)
    assert found is not None
    assert found[1]["position"]["step"] == 2
    os.truncate(folder / "last.ckpt", 1000)
    with caplog.at_level("INFO", "cam_lightning"):
        found = newest_checkpoint(cut_off)
    assert found is not None
    assert found[0].name == "previous.ckpt"
    assert "last.ckpt is damaged or holds no weights" in caplog.text
    assert "the checkpoint before the last (which is damaged)" in caplog.text
    (folder / "last.ckpt").unlink()
    with caplog.at_level("INFO", "cam_lightning"):
        assert newest_checkpoint(cut_off) is not None
    assert "the checkpoint before the last (which is missing)" in caplog.text
    os.truncate(folder / "previous.ckpt", 0)
    with pytest.raises(ValueError, match=r"no checkpoint of .* can be read \(previous.ckpt\)"):
        newest_checkpoint(cut_off)


def test_a_checkpoint_without_a_position_gives_way_to_the_one_before(cut_off: RunDirectory) -> None:
    """As `best.ckpt` has none, which somebody may have put there."""
    folder = cut_off.path / "checkpoints"
    folder.mkdir()
    torch.save({"cam_lightning": {}}, folder / "last.ckpt")
    with pytest.raises(ValueError, match=r"no checkpoint of .* can be read \(last.ckpt\)"):
        newest_checkpoint(cut_off)
    torch.save({"cam_lightning": {}, "position": {"epoch": 0, "batch": 1, "step": 1}}, folder / "previous.ckpt")
    found = newest_checkpoint(cut_off)
    assert found is not None
    assert found[0].name == "previous.ckpt"


@pytest.mark.parametrize("damaged", ["", "{garbage", "[]", "[" * 100_000])
def test_a_damaged_status_stops_no_run_that_goes_on(cut_off: RunDirectory, damaged: str) -> None:
    (cut_off.path / "status.json").write_text(damaged)
    assert resumed_config(cut_off, []).seed == 7


# Whole processes

TINY = ["dataset.num_train=24", "dataset.num_test=12", "dataset.image_size=32", "dataset.train_size=32",
        "dataset.batch_size=4", "dataset.val_fraction=0.2", "backbone.width=0.25", "backbone.stride=8",
        "trainer=cpu", "trainer.log_every_n_steps=1", "callback.checkpoint.every_minutes=0"]  # fmt: skip


def begin(folder: Path, *arguments: str, apart: bool = False) -> subprocess.Popen[str]:
    """Starts `train`; `apart`: in a process group of its own, as a terminal's."""
    command = [sys.executable, "-m", "cam_lightning.train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=apart
    )


def logged(run: Path) -> list[str]:
    """The rows of metrics.csv without their times."""
    file = run / "metrics.csv"
    return [row.partition(",")[2] for row in file.read_text().splitlines()] if file.exists() else []


def wait_for_rows(process: subprocess.Popen[str], run: Path, count: int) -> None:
    start = time.monotonic()
    while len(logged(run)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - start < 200
        time.sleep(0.01)


@pytest.mark.slow
def test_kill_and_resume_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = begin(tmp_path, *TINY, "trainer.max_epochs=2", f"run_dir={tmp_path}/whole")
    assert whole.wait() == 0
    killed = begin(tmp_path, *TINY, "trainer.max_epochs=2", f"run_dir={tmp_path}/killed")
    wait_for_rows(killed, tmp_path / "killed", 4)
    killed.kill()
    killed.wait()
    resumed = begin(tmp_path, f"resume={tmp_path}/killed")
    out, err = resumed.communicate()
    assert resumed.returncode == 0, out + err
    checkpoints = [
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True) for run in ("whole", "killed")
    ]
    for name, value in checkpoints[0]["state_dict"].items():
        assert torch.equal(value, checkpoints[1]["state_dict"][name]), name
    assert logged(tmp_path / "whole") == logged(tmp_path / "killed")
    results = [json.loads((tmp_path / run / "results.json").read_text()) for run in ("whole", "killed")]
    assert results[0] == results[1]
    refused = begin(tmp_path, f"resume={tmp_path}/killed")
    assert "is finished" in refused.communicate()[1]
    assert refused.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_neither_of_two_processes_outlives_the_other(tmp_path: Path, number: signal.Signals) -> None:
    """Asked to end, both end with a checkpoint; where one is killed, the other ends with a message."""
    run = tmp_path / "run"
    first = begin(tmp_path, *TINY, "trainer.max_epochs=50", "trainer.devices=2", "trainer.timeout_minutes=1",
                  f"run_dir={run}")  # fmt: skip
    wait_for_rows(first, run, 3)
    children = [
        int(each) for task in Path(f"/proc/{first.pid}/task").glob("*/children") for each in task.read_text().split()
    ]
    (second,) = children
    os.kill(second if number == signal.SIGKILL else first.pid, number)
    _, err = first.communicate(timeout=120)
    state = json.loads((run / "status.json").read_text())["state"]
    if number == signal.SIGTERM:
        assert (first.returncode, state) == (128 + 15, "interrupted")
        assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["position"]["step"] > 0
    else:
        assert (first.returncode, state) == (1, "failed")
        assert "error:" in err
    assert not Path(f"/proc/{second}").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_signal_to_all_processes_saves_and_says_so(tmp_path: Path, number: signal.Signals, num_workers: int) -> None:
    """Ctrl-C, `timeout` and SLURM tell the workers too, which must outlive the step that is saved."""
    run = tmp_path / "run"
    process = begin(tmp_path, *TINY, "trainer.max_epochs=500", "callback.checkpoint.every_minutes=null",
                    f"dataset.num_workers={num_workers}", f"run_dir={run}", apart=True)  # fmt: skip
    wait_for_rows(process, run, 4)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert f"interrupted by {number.name}; to go on: python -m cam_lightning.train resume={run}" in err
    assert "Traceback" not in err
    steps = [int(row.split(",")[0]) for row in logged(run) if "train/loss" in row]
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["position"]["step"]
    assert saved - max(steps) in (0, 1), "the last step is in it"


@pytest.mark.slow
def test_what_is_damaged_beside_a_whole_checkpoint_stops_nothing(tmp_path: Path) -> None:
    """And a run that is finished, and was killed before its page, gets one."""
    run = tmp_path / "run"
    killed = begin(tmp_path, *TINY, "trainer.max_epochs=3", f"run_dir={run}")
    while not (run / "checkpoints" / "best.ckpt").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    for name in ("checkpoints/best.ckpt", "environment.json", "status.json", "specs.json"):
        assert (run / name).exists()
        (run / name).write_bytes(b"{gar")
    (run / "environment.json").write_bytes(b"")
    resumed = begin(tmp_path, f"resume={run}")
    out, err = resumed.communicate()
    assert resumed.returncode == 0, out + err
    assert (run / "report.html").exists()
    (run / "report.html").unlink()
    again = begin(tmp_path, f"resume={run}")
    assert "is finished" in again.communicate()[1]
    assert "<html" in (run / "report.html").read_text()


@pytest.mark.slow
def test_two_processes_save_before_a_validation(tmp_path: Path) -> None:
    """A signal within it ends them at once; what the epoch has taught is on the disk by then."""
    run = begin(tmp_path, *TINY, "callback.checkpoint.every_minutes=null", "trainer.max_epochs=1", "trainer.devices=2",
                f"run_dir={tmp_path}/run")  # fmt: skip
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    previous, last = (
        torch.load(tmp_path / "run" / "checkpoints" / name, weights_only=True)["position"]
        for name in ("previous.ckpt", "last.ckpt")
    )
    assert previous["is_before_validation"]
    assert previous["step"] == last["step"] > 0
    assert not last["is_before_validation"]
