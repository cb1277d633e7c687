"""Commands as a user gives them, each in a process of its own that need not import torch first.

Importing takes most of a tiny run's time. So one process imports, and every command is a fork of it, which then runs
`python -m cam_lightning.<entry>` from the top. What a command imports, and when, is seen in `test_launch.py`, and
several ranks start in `test_train.py`: those are processes of their own from the beginning.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMEOUT = 300
"""Seconds."""
FORKS = multiprocessing.get_context("forkserver")
"""Starts processes from a server that has imported what they need."""
FORKS.set_forkserver_preload(
    ["cam_lightning.build", "cam_lightning.backbone.googlenet_gap", "cam_lightning.dataset.shapes"]
)


def run(
    entry: str, *arguments: str, cwd: Path, check: bool = True, timeout: float = TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m cam_lightning.<entry>` in a folder, on one thread; its output and exit code.

    `check` asserts that it ends well. Raises TimeoutError where it has not ended after `timeout` seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = FORKS.Process(target=_command, args=(entry, arguments, cwd, dict(os.environ), (out, err)))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{entry} {' '.join(arguments)}: still running after {timeout:g} seconds")
        assert process.exitcode is not None
        done = subprocess.CompletedProcess([entry, *arguments], process.exitcode, out.read_text(), err.read_text())
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def measured(
    entry: str, *arguments: str, cwd: Path, timeout: float = TIMEOUT, fresh: bool = False
) -> tuple[subprocess.CompletedProcess[str], float]:
    """As `run`, of any exit code, with the seconds that it would have taken on a machine that does nothing else.

    Those in which the command stood in line for a processor that others had are not counted; those in which it slept,
    or waited for a file, a network or its own workers, are. `fresh` is an interpreter of its own, not a fork. Raises
    TimeoutError after `timeout` seconds on the clock, and ends all that the command started.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err, end = Path(folder, "out"), Path(folder, "err"), Path(folder, "end")
        given = (entry, arguments, cwd, dict(os.environ), (out, err))
        process = FORKS.Process(target=_measured, args=(given, end, fresh))
        process.start()
        process.join(timeout)
        is_late = process.is_alive()
        with contextlib.suppress(ProcessLookupError):
            # Also what a command that has ended left behind.
            os.killpg(process.pid or 0, signal.SIGKILL)
        if is_late:
            raise TimeoutError(f"{entry} {' '.join(arguments)}: still running after {timeout:g} seconds")
        code, seconds = json.loads(end.read_text())
        return subprocess.CompletedProcess([entry, *arguments], code, out.read_text(), err.read_text()), seconds


def _measured(
    given: tuple[str, tuple[str, ...], Path, dict[str, str], tuple[Path, Path]], end: Path, fresh: bool
) -> None:
    """Runs the command in a child, and writes how it ended; with all its children it is a session of its own."""
    os.setsid()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _command(*given, fresh=fresh)
        return
    # While it is not yet waited for, the kernel still knows what it did.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    passed = time.monotonic() - start
    in_line = int(Path(f"/proc/{child}/schedstat").read_text().split()[1]) / 1e9
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    end.write_text(json.dumps((code, passed - in_line)))


def _command(
    entry: str,
    arguments: tuple[str, ...],
    cwd: Path,
    environment: dict[str, str],
    streams: tuple[Path, Path],
    fresh: bool = False,
) -> None:
    if not fresh:
        import torch

        torch.set_num_threads(1)
    os.environ.clear()
    os.environ.update(environment, OMP_NUM_THREADS="1", COLUMNS="200")
    os.chdir(cwd)
    for number, path in enumerate(streams, start=1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    if fresh:
        os.execv(sys.executable, [sys.executable, "-m", f"cam_lightning.{entry}", *arguments])
    sys.argv[1:] = arguments
    runpy.run_module(f"cam_lightning.{entry}", run_name="__main__", alter_sys=True)
