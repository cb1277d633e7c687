"""A job of a sweep on a cluster: what its tasks agree on, and how it takes a signal; no SLURM is needed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.lock import try_lock
from cam_lightning.sweep import job as job_module
from cam_lightning.sweep.job import STOPPED, lock_of, run_apart, state_of

SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
Popen: Any = subprocess.Popen
LOCAL = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"


class Jobs:
    """`run_apart` of one job, by whichever task; `process` stands in for what it starts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = folder / "sweep" / "job"
        self.monkeypatch = monkeypatch
        self.commands: list[list[str]] = []
        self.process: Callable[[], Any] = lambda: Ended(0)
        monkeypatch.setattr(job_module, "_arguments", lambda: ["seed=1"])
        monkeypatch.setattr(job_module.subprocess, "Popen", self.start)
        monkeypatch.setenv("SLURM_JOB_ID", "77")
        monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)

    def start(self, command: list[str], **options: Any) -> Any:
        self.commands.append(command[3:])
        return self.process()

    def __call__(self, task: int = 0, launcher: str = SLURM, on_error: str = "continue", minutes: float = 1) -> None:
        self.monkeypatch.setattr(job_module, "_launcher", lambda: launcher)
        self.monkeypatch.setenv("SLURM_PROCID", str(task))
        trainer = {"accelerator": "cpu", "timeout_minutes": minutes}
        options = {"run_dir": str(self.directory), "resume": None, "on_error": on_error, "trainer": trainer}
        run_apart("train", OmegaConf.create(options))

    def status(self, state: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        RunDirectory(self.directory).write_status(state, "command")


class Ended:
    def __init__(self, code: int) -> None:
        self.code = code

    def wait(self) -> int:
        return self.code


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    return Jobs(tmp_path, monkeypatch)


def test_every_task_begins_a_job_that_begins(job: Jobs) -> None:
    job.status("queued")
    job(task=0)
    job(task=1)
    assert job.commands == [["seed=1"], ["seed=1"]]


def test_no_task_begins_a_job_that_is_finished(job: Jobs) -> None:
    job.status("finished")
    job(task=0)
    job(task=1)
    assert job.commands == []


def test_no_task_begins_a_job_that_runs_elsewhere(job: Jobs) -> None:
    job.status("running")
    lock = try_lock(lock_of(job.directory))
    assert lock is not None
    with lock:
        job(task=0)
    job(task=3)
    assert job.commands == []


def test_tasks_go_on_together_also_where_a_checkpoint_comes_or_goes_meanwhile(job: Jobs) -> None:
    job.status("interrupted")
    (job.directory / "checkpoints").mkdir()
    checkpoint = job.directory / "checkpoints" / "last.ckpt"
    checkpoint.touch()
    job(task=0)
    checkpoint.unlink()
    job(task=1)
    first, second = job.commands
    assert first == second
    assert first[0].startswith("resume=")


def test_a_job_that_goes_on_is_trusted_with_what_its_sweep_is(job: Jobs) -> None:
    job.monkeypatch.setattr(job_module, "_arguments", lambda: ["trust=[mine]", "seed=1", "method.rate=2"])
    job.status("interrupted")
    (job.directory / "checkpoints").mkdir()
    (job.directory / "checkpoints" / "last.ckpt").touch()
    job()
    ((resume, *others),) = job.commands
    assert resume.startswith("resume=")
    assert others == ["trust=[mine]"], "nothing stored can say it, and all else is stored"


def test_a_job_that_was_queued_again_decides_again(job: Jobs) -> None:
    job.status("finished")
    job(task=0)
    job.monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(TimeoutError, match=r"the first task of this SLURM job has not written .*job\.77\.1"):
        job(task=1, minutes=0)
    assert job.commands == []


# Signals


@pytest.fixture
def as_submitit() -> Iterator[list[int]]:
    """Its handler of SIGTERM, which takes note and does nothing."""
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: noted.append(number))
    yield noted
    signal.signal(signal.SIGTERM, before)


def terminated(job: Jobs, code: int) -> Callable[[], Any]:
    """A process that ends with `code` on SIGTERM, which its sweep's process gets while it waits."""

    class Process(Popen):  # type: ignore[misc]
        def wait(self, timeout: float | None = None) -> int:
            if self.returncode is None:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().wait(timeout)

    def start() -> Any:
        job.status("interrupted" if code == 143 else "failed")
        script = f"trap 'exit {code}' TERM; echo ready; while :; do sleep 0.05; done"
        process = Process(["sh", "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    return start


class KilledError(Exception):
    """By SLURM, at last."""


def killed() -> None:
    raise KilledError


@pytest.mark.parametrize("task", [0, 1])
def test_a_task_that_was_told_to_end_stays_until_slurm_ends_it(
    job: Jobs, task: int, as_submitit: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that returned would make a preempted job one that is completed, and SLURM would not queue it again."""
    monkeypatch.setattr(job_module.signal, "pause", killed)
    before = signal.getsignal(signal.SIGUSR2)
    job.status("queued")
    job()
    job.process = terminated(job, 143)
    with pytest.raises(KilledError):
        job(task=task, on_error="stop")
    assert as_submitit == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGUSR2) == before, "submitit's handlers are at work again"
    assert state_of(job.directory) == "interrupted"
    assert not (job.directory.parent / STOPPED).exists(), "the others may begin"


@pytest.mark.parametrize(("launcher", "code"), [(LOCAL, 143), (SLURM, 1)], ids=["local", "failed"])
def test_a_job_that_nobody_queues_again_returns(
    job: Jobs, launcher: str, code: int, as_submitit: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module.signal, "pause", killed)
    job.process = terminated(job, code)
    job(launcher=launcher, on_error="stop")
    assert as_submitit == [signal.SIGTERM]
    assert (job.directory.parent / STOPPED).exists() == (code == 1)
