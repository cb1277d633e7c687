"""Several processes of one run: none outlives another, and none waits for one that is gone."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory

log = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
"""How long a process may take to end by itself after another one has died."""

_OF_THE_GROUP = ("gloo", "nccl", "application timeout caused pair closure", "connection closed by peer")
"""What gloo's and NCCL's errors say; torch has a class for some of them alone."""


class SharedDDP(DDPStrategy):
    """DistributedDataParallel whose processes end together, each with a message."""

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        seconds = self._timeout.total_seconds() if self._timeout is not None else 0.0
        self._launcher = _Launcher(self.cluster_environment, self.num_processes, self.num_nodes, seconds)


class _Launcher(_SubprocessScriptLauncher):
    """Starts the other ranks of this machine; watches them from the first, and the first from them.

    Lightning's own kills the first process without a word when another one dies.
    """

    def __init__(self, cluster_environment: Any, num_processes: int, num_nodes: int, timeout_seconds: float) -> None:
        super().__init__(cluster_environment, num_processes, num_nodes)
        self.timeout_seconds = timeout_seconds
        self.parent = os.getppid()

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
        # Only while processes wait for one another: afterwards none must end this one, which writes its results.
        is_over = threading.Event()
        threading.Thread(target=self._watch, args=(is_over,), daemon=True, name="ranks").start()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            is_over.set()
            self._end_others()
            if isinstance(error, RuntimeError) and _is_of_the_group(error):
                raise ConnectionError(
                    "another process of this run has died, or has not answered for trainer.timeout_minutes "
                    f"({self.timeout_seconds / 60:g}): {_first_line(error)}. Look for its own message; then go on "
                    "from the last checkpoint with resume=RUN"
                ) from error
            raise
        finally:
            is_over.set()

    def _watch(self, is_over: threading.Event) -> None:
        """Ends this process, if it does not end by itself, soon after another one has died."""
        while not is_over.wait(0.5):
            lost = self._lost(self.parent)
            if lost is None:
                continue
            print(f"\nerror: {lost}; this one ends within {GRACE_SECONDS:g} s", file=sys.stderr, flush=True)
            log.error("%s", lost)
            # A collective that waits for the lost one fails by itself, or never: then nothing else would end it.
            if not is_over.wait(GRACE_SECONDS):
                try:
                    self._record(lost)
                finally:
                    self._end_others()
                    os._exit(1)

    def _record(self, lost: str) -> None:
        """Says how the run ended, which the thread that would say it cannot."""
        run_dir = os.environ.get(RUN_DIR_VARIABLE)
        if run_dir and self.cluster_environment.global_rank() == 0:
            RunDirectory(Path(run_dir)).write_loss(f"{lost}; go on from the last checkpoint with resume=RUN")

    def _lost(self, parent: int) -> str | None:
        for rank, process in enumerate(self.procs, start=1):
            if process.poll():
                code = process.returncode
                how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
                return f"the process of local rank {rank} has ended {how}"
        if not self.procs and os.getppid() != parent:
            return "the process that started this rank has ended"
        return None

    def _end_others(self, grace: float = GRACE_SECONDS) -> None:
        """Asks the processes that this one started to end, and sees to it that they do."""
        for process in self.procs:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + grace
        for process in self.procs:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def _is_of_the_group(error: RuntimeError) -> bool:
    """Whether it is the communication between processes that failed."""
    said = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or any(words in said for words in _OF_THE_GROUP)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
