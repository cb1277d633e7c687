"""Which error says that another process is lost, which process that is, and what is written down of it."""

from __future__ import annotations

import os
import subprocess
import threading
import types
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment

from cam_lightning.run import ranks
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.ranks import _is_of_the_group, _Launcher


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer"), True),
        (RuntimeError("Application timeout caused pair closure"), True),
        (RuntimeError("NCCL communicator was aborted on rank 0"), True),
        (torch.distributed.DistStoreError("Timed out after 13 seconds waiting for clients. 1/2 clients joined."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_errors_of_the_group_are_told_from_others(error: RuntimeError, expected: bool) -> None:
    assert _is_of_the_group(error) is expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("exit 0", None),
        ("exit 3", "the process of local rank 2 has ended with code 3"),
        ("kill -9 $$", "the process of local rank 2 has ended by SIGKILL"),
    ],
)
def test_a_process_that_is_lost_is_named(command: str, expected: str | None) -> None:
    processes = [subprocess.Popen(["sh", "-c", script]) for script in ("exit 0", command)]
    for process in processes:
        process.wait()
    launcher = types.SimpleNamespace(procs=processes)
    assert _Launcher._lost(launcher, os.getppid()) == expected  # type: ignore[arg-type]


def test_a_rank_notices_that_the_first_one_has_ended() -> None:
    launcher = types.SimpleNamespace(procs=[])
    assert _Launcher._lost(launcher, os.getppid()) is None  # type: ignore[arg-type]
    assert _Launcher._lost(launcher, -1) == "the process that started this rank has ended"  # type: ignore[arg-type]


def test_processes_that_were_started_end_with_the_first() -> None:
    """Also one that does not listen."""
    deaf = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], stdout=subprocess.PIPE
    )
    assert deaf.stdout is not None
    deaf.stdout.readline()
    processes = [subprocess.Popen(["sleep", "100"]), deaf]
    _Launcher._end_others(types.SimpleNamespace(procs=processes), grace=0.3)  # type: ignore[arg-type]
    assert [process.wait(5) for process in processes] == [-15, -9]


def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[_Launcher, RunDirectory]:
    """The launcher of a run's first process, whose second one has ended with code 3."""
    run = RunDirectory(tmp_path)
    run.write_status("running", "python -m cam_lightning.train")
    monkeypatch.setenv(RUN_DIR_VARIABLE, str(tmp_path))
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 0.1)
    launcher = _Launcher(LightningEnvironment(), 2, 1, 60)
    launcher.procs = [subprocess.Popen(["sh", "-c", "exit 3"])]
    launcher.procs[0].wait()
    return launcher, run


def test_a_run_that_waits_for_a_lost_process_is_ended_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main thread hangs in a collective, as NCCL's do: nothing but the watch can write the status."""
    launcher, run = launched(tmp_path, monkeypatch)
    codes: list[int] = []
    ended = threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(ranks.os, "_exit", end)
    assert launcher.launch(lambda: ended.wait(30))
    assert set(codes) == {1}
    status = run.read_status()
    assert status["state"] == "failed"
    assert status["command"] == "python -m cam_lightning.train"
    assert status["error"].startswith("ChildProcessError: the process of local rank 1 has ended with code 3; go on")


def test_a_process_that_is_lost_after_the_last_step_does_not_end_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher, run = launched(tmp_path, monkeypatch)
    codes: list[int] = []
    monkeypatch.setattr(ranks.os, "_exit", codes.append)
    assert launcher.launch(lambda: "results") == "results"
    for thread in threading.enumerate():
        if thread.name == "ranks":
            thread.join(5)
            assert not thread.is_alive(), "nothing is watched any more"
    assert codes == []
    assert run.read_status()["state"] == "running"


def test_how_a_run_has_ended_is_not_overwritten(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_status("interrupted", "command")
    run.write_loss("lost")
    assert run.read_status()["state"] == "interrupted"
