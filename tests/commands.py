"""Commands as a user gives them, each in a process of its own that need not import torch first.

Importing takes most of a tiny run's time. So one process imports, and every command is a fork of it, which then runs
`python -m cam_lightning.<entry>` from the top. What a command imports, and when, is seen in `test_launch.py`, and
several ranks start in `test_train.py`: those are processes of their own from the beginning.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
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


def _command(
    entry: str, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], streams: tuple[Path, Path]
) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ.clear()
    os.environ.update(environment, OMP_NUM_THREADS="1", COLUMNS="200")
    os.chdir(cwd)
    for number, path in enumerate(streams, start=1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    sys.argv[1:] = arguments
    runpy.run_module(f"cam_lightning.{entry}", run_name="__main__", alter_sys=True)
