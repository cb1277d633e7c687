"""One job of a sweep: in a process of its own, so that neither it nor its ranks ever see the sweep's arguments."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cam_lightning.lock import held_gpus, try_lock, visible_gpus
from cam_lightning.override import assign
from cam_lightning.run import RUN_DIR_VARIABLE, RunDirectory

STOPPED = "stopped"
"""A file in the sweep's folder: a job has failed, and on_error=stop lets no other begin."""
_OF_ANOTHER_RUN = (
    RUN_DIR_VARIABLE,
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)
"""What a run tells the processes that it starts; a job is none of those."""


def state_of(directory: Path) -> str | None:
    """How a job's run stands; None where there is no run."""
    try:
        return json.loads((directory / "status.json").read_text(encoding="utf-8")).get("state")
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def lock_of(directory: Path) -> Path:
    """What the process of a job holds while it lives."""
    return directory.parent / ".locks" / directory.name


def is_running(directory: Path) -> bool:
    """Whether a process runs the job now, be it one whose sweep was killed."""
    if not directory.is_dir():
        return False
    lock = try_lock(lock_of(directory))
    if lock is None:
        return True
    lock.close()
    return False


def run_apart(name: str, config: DictConfig) -> None:
    """Runs a composed job as `python -m cam_lightning.<name>` in `config.run_dir`, below the sweep's folder.

    Nothing is raised for a job that fails: its `status.json` says how it ended, also where the process was
    killed. A job that is finished or still runs elsewhere is left alone; one that has a checkpoint goes on from it.
    """
    directory = Path(config.run_dir)
    if (directory.parent / STOPPED).exists():
        print(f"not started, because of on_error=stop: {directory.name}", flush=True)
        return
    # Under SLURM each of the job's tasks comes here; they share the run's directory, and the first one keeps it.
    is_first = int(os.environ.get("SLURM_PROCID", 0)) == 0
    with ExitStack() as stack:
        held: list[IO[str]] = []
        if is_first:
            lock = try_lock(lock_of(directory))
            if lock is None:
                print(f"runs already: {directory.name}", flush=True)
                return
            held.append(stack.enter_context(lock))
            if state_of(directory) == "finished":
                return
        environment = {key: value for key, value in os.environ.items() if key not in _OF_ANOTHER_RUN}
        output: IO[str] | None = None
        if _several_at_once():
            if OmegaConf.select(config, "trainer.accelerator") == "gpu":
                gpus = stack.enter_context(held_gpus(config.trainer.devices, visible_gpus()))
                held += gpus.values()
                if gpus:
                    environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
            # Several jobs would write through each other in the terminal.
            path = directory.parent / "output" / f"{directory.name}.txt"
            path.parent.mkdir(exist_ok=True)
            output = stack.enter_context(path.open("w", encoding="utf-8"))
        goes_on = "resume" in config and any((directory / "checkpoints").glob("*.ckpt"))
        if is_first and not goes_on:
            make_way(directory)
        arguments = [assign("resume", directory)] if goes_on else _arguments()
        command = [sys.executable, "-m", f"cam_lightning.{name}", *arguments]
        print(f"{'goes on' if goes_on else 'started'}: {directory.name}", flush=True)
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            pass_fds=[file.fileno() for file in held],
        )
        code = _wait(process)
        if is_first:
            _conclude(directory, code, shlex.join(["python", *command[1:]]), config.on_error)


def make_way(directory: Path) -> None:
    """Moves what an earlier attempt left to the sweep's `earlier/`: a run begins in an empty directory."""
    if state_of(directory) == "queued":
        (directory / "status.json").unlink()
    elif directory.is_dir() and any(directory.iterdir()):
        earlier = directory.parent / "earlier"
        earlier.mkdir(exist_ok=True)
        attempt = 1 + sum(1 for _ in earlier.glob(f"{directory.name}.*"))
        directory.rename(earlier / f"{directory.name}.{attempt}")
        directory.mkdir()


def _arguments() -> list[str]:
    """The command line of this job alone, from its beginning."""
    hydra = HydraConfig.get()
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return [*(f"--config-dir={folder}" for folder in folders), *hydra.overrides.task]


def _several_at_once() -> bool:
    return "joblib" in str(HydraConfig.get().launcher.get("_target_"))


def _wait(process: subprocess.Popen[Any]) -> int:
    """The exit code. Whatever tells this process to end is handed on to the job, which then has time to save."""
    with _handing_on(process):
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has told the job too.
            process.wait()
            raise


@contextmanager
def _handing_on(process: subprocess.Popen[Any]) -> Iterator[None]:
    """SIGTERM, and the signals by which SLURM announces that time is up (submitit then queues the job again)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}

    def hand_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGTERM)
        # `process.wait`, which this handler interrupts, holds a lock; the exit code is left for it.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            sys.exit(128 + number)

    for number in before:
        signal.signal(number, hand_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(directory: Path, code: int, command: str, on_error: str) -> None:
    """Says how the job ended, and writes it down where the job itself could not."""
    if code and state_of(directory) in (None, "running"):
        directory.mkdir(parents=True, exist_ok=True)
        end = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        RunDirectory(directory).write_status("failed", command, ChildProcessError(f"the job's process {end}"))
    state = state_of(directory)
    print(f"{state}: {directory.name}", flush=True)
    if state != "finished" and on_error == "stop":
        (directory.parent / STOPPED).touch()
