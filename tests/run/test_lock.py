"""Locks, and GPUs shared out among jobs; no GPU is needed."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.lock import held_gpus, try_lock, visible_gpus


def test_a_lock_is_held_once_and_free_again_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "it's one"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    first.close()
    second = try_lock(path)
    assert second is not None
    second.close()


def test_a_child_that_inherited_a_lock_holds_it_after_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = try_lock(path)
    assert lock is not None
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.fileno()])
    lock.close()
    try:
        assert try_lock(path) is None
    finally:
        child.kill()
        child.wait()
    free = try_lock(path)
    assert free is not None
    free.close()


@pytest.mark.parametrize(
    ("given", "expected"), [("0,3", ["0", "3"]), ("", []), ("-1", []), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])]
)
def test_gpus_are_those_that_this_process_may_see(
    given: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == expected


def test_no_gpu_is_ever_used_twice(tmp_path: Path) -> None:
    """Six jobs of 2 GPUs on 5: at most two at once, all of them in the end."""
    used: list[str] = []
    most = 0
    guard = threading.Lock()

    def job() -> None:
        nonlocal most
        with held_gpus(2, list("abcde"), tmp_path, poll=0.01) as gpus:
            assert len(gpus) == 2
            with guard:
                assert not set(used) & set(gpus)
                used.extend(gpus)
                most = max(most, len(used))
            time.sleep(0.02)
            with guard:
                for gpu in gpus:
                    used.remove(gpu)

    failures: list[BaseException] = []

    def catching() -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    jobs = [threading.Thread(target=catching) for _ in range(6)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join(60)
    assert failures == []
    assert not any(thread.is_alive() for thread in jobs)
    assert most in (2, 4)


def test_more_gpus_than_there_are_is_left_to_the_job_to_say(tmp_path: Path) -> None:
    with held_gpus(3, ["0", "1"], tmp_path) as gpus:
        assert gpus == {}


def test_gpus_of_a_killed_process_are_free(tmp_path: Path) -> None:
    code = f"""
import pathlib, time
from cam_lightning.run.lock import held_gpus
with held_gpus(1, ["0"], pathlib.Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert try_lock(tmp_path / "0") is None
    process.kill()
    process.wait()
    with held_gpus(1, ["0"], tmp_path) as gpus:
        assert list(gpus) == ["0"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_work_goes_on_and_the_log_says_so_once(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on Lustre mounted without flock, and on NFS without its lock daemon: also a run's own lock."""

    def refuse(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)
    for name in ("a", "b"):
        lock = try_lock(tmp_path / name)
        assert lock is not None
        lock.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"files in {tmp_path} cannot be locked ({os.strerror(number)}): start a sweep, and go on with a run, "
        "once at a time"
    ]
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.lock()
    run.unlock()
    assert len(caplog.records) == 2
