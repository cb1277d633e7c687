"""Which error says that another process is lost, and which process that is."""

from __future__ import annotations

import os
import subprocess
import types

import pytest
import torch

from cam_lightning.ranks import _is_of_the_group, _Launcher


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
