"""One job of a sweep: in a process of its own, so that neither it nor its ranks ever see the sweep's arguments."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.lock import held_gpus, try_lock, visible_gpus
from cam_lightning.run.override import assign, key_of

STOPPED = "stopped"
"""A file in the sweep's folder: a job has failed, and on_error=stop lets no other begin."""
POLL_SECONDS = 2.0
"""Between two looks at a job that runs elsewhere."""
_OF_ANOTHER_RUN = (
    RUN_DIR_VARIABLE,
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    "TORCHELASTIC_RUN_ID",
)
"""What a run tells the processes that it starts; a job is none of those."""
_OF_A_SLURM_TASK = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NPROCS")
"""What SLURM tells its tasks; a job that a sweep starts by itself, within an allocation, is none of those."""

Plan = Literal["skip", "begin", "go on"]


def state_of(directory: Path) -> str | None:
    """How a job's run stands; None where there is no run."""
    return RunDirectory(directory).read_status().get("state")


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


def queue(directory: Path, command: str) -> None:
    """Says of a job that has no run yet that it will have one.

    Not of one that another process is just about to begin: that needs an empty directory.
    """
    lock = try_lock(lock_of(directory))
    if lock is None:
        return
    with lock:
        if state_of(directory) is None:
            directory.mkdir(exist_ok=True)
            RunDirectory(directory).write_status("queued", command)


def wait_for(directories: Sequence[Path]) -> None:
    """Until none of the jobs runs any more, in whatever process; says which of them it waits for."""
    running = [each for each in directories if is_running(each)]
    if running:
        print(f"run elsewhere, so waited for: {', '.join(each.name for each in running)}", flush=True)
    while any(is_running(each) for each in running):
        time.sleep(POLL_SECONDS)


def run_apart(name: str, config: DictConfig) -> None:
    """Runs a composed job as `python -m cam_lightning.<name>` in `config.run_dir`, below the sweep's folder.

    Nothing is raised for a job that fails: its `status.json` says how it ended, also where the process was
    killed. A job that is finished or still runs elsewhere is left alone; one that has a checkpoint goes on from it.
    """
    directory = Path(config.run_dir)
    is_slurm = "SlurmLauncher" in _launcher()
    # Under SLURM each of the job's tasks comes here; they share the run's directory, and the first one keeps it.
    is_first = not is_slurm or int(os.environ["SLURM_PROCID"]) == 0
    with ExitStack() as stack:
        lock = _own(directory) if is_first else None
        held: list[IO[str]] = [stack.enter_context(lock)] if lock else []
        if is_first:
            plan = _plan(directory, lock is not None, "resume" in config)
            if is_slurm:
                _tell(directory, plan)
        else:
            plan = _told(directory, 60 * config.trainer.timeout_minutes)
        if plan == "skip":
            return
        left_out = _OF_ANOTHER_RUN if is_slurm else (*_OF_ANOTHER_RUN, *_OF_A_SLURM_TASK)
        environment = {key: value for key, value in os.environ.items() if key not in left_out}
        output: IO[str] | None = None
        if "joblib" in _launcher():
            if OmegaConf.select(config, "trainer.accelerator") == "gpu":
                gpus = stack.enter_context(held_gpus(config.trainer.devices, visible_gpus()))
                held += gpus.values()
                if gpus:
                    environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
            # Several jobs would write through each other in the terminal.
            path = directory.parent / "output" / f"{directory.name}.txt"
            path.parent.mkdir(exist_ok=True)
            output = stack.enter_context(path.open("w", encoding="utf-8"))
        command = [sys.executable, "-m", f"cam_lightning.{name}"]
        command += [assign("resume", directory), *_trusted()] if plan == "go on" else _arguments()
        print(f"{'goes on' if plan == 'go on' else 'started'}: {directory.name}", flush=True)
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            pass_fds=[file.fileno() for file in held],
        )
        code, was_terminated = _wait(process)
        if is_first:
            record_end(directory, config.on_error, _loss(code), shlex.join(["python", *command[1:]]))
        if is_slurm and was_terminated and code == 128 + signal.SIGTERM:
            _wait_for_the_end()


def _own(directory: Path) -> IO[str] | None:
    """The lock of a job; None where another process has it, and does not merely look whether it is free."""
    for _ in range(5):
        lock = try_lock(lock_of(directory))
        if lock is not None:
            return lock
        time.sleep(0.1)
    return None


def set_earlier_attempt_aside(directory: Path) -> None:
    """Moves what an earlier attempt left to the sweep's `earlier/`: a run begins in an empty directory."""
    if state_of(directory) == "queued":
        (directory / "status.json").unlink()
    elif directory.is_dir() and any(directory.iterdir()):
        earlier = directory.parent / "earlier"
        earlier.mkdir(exist_ok=True)
        attempt = 1 + sum(1 for _ in earlier.glob(f"{directory.name}.*"))
        directory.rename(earlier / f"{directory.name}.{attempt}")
        directory.mkdir()


def _plan(directory: Path, is_ours: bool, can_go_on: bool) -> Plan:
    """What is to be done for the job, and the directory made ready for it."""
    if (directory.parent / STOPPED).exists():
        print(f"not started, because of on_error=stop: {directory.name}", flush=True)
        return "skip"
    if not is_ours:
        print(f"runs already: {directory.name}", flush=True)
        return "skip"
    if state_of(directory) == "finished":
        return "skip"
    if can_go_on and any((directory / "checkpoints").glob("*.ckpt")):
        return "go on"
    set_earlier_attempt_aside(directory)
    return "begin"


def _tell(directory: Path, plan: Plan) -> None:
    """Tells the other tasks of this SLURM job, which would each decide otherwise a moment later."""
    file = _plan_file(directory)
    file.parent.mkdir(exist_ok=True)
    RunDirectory(file.parent).write_text(file.name, plan)


def _told(directory: Path, seconds: float) -> Plan:
    """What the first task has decided; raises TimeoutError where it has not within `seconds`."""
    file = _plan_file(directory)
    deadline = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the first task of this SLURM job has not written {file}: look for its own message")
        time.sleep(0.2)
    plan: Plan = file.read_text(encoding="utf-8")  # type: ignore[assignment]
    return plan


def _plan_file(directory: Path) -> Path:
    """Of this start of this SLURM job alone: one that was queued again decides again."""
    start = f"{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_RESTART_COUNT', 0)}"
    return directory.parent / ".plans" / f"{directory.name}.{start}"


def _arguments() -> list[str]:
    """The command line of this job alone, from its beginning."""
    hydra = HydraConfig.get()
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return [*(f"--config-dir={folder}" for folder in folders), *hydra.overrides.task]


def _trusted() -> list[str]:
    """What the sweep's command line trusts: a run that goes on has all else from its own configuration."""
    return [override for override in _arguments() if key_of(override) == "trust"]


def _launcher() -> str:
    return str(HydraConfig.get().launcher.get("_target_"))


def _wait(process: subprocess.Popen[Any]) -> tuple[int, bool]:
    """The exit code, and whether a SIGTERM came meanwhile.

    Whatever tells this process to end is handed on to the job, which then has time to save.
    """
    with _handing_on(process) as received:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The terminal has told the job too; `kill -INT` of the sweep alone has not.
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    return code, signal.SIGTERM in received


@contextmanager
def _handing_on(process: subprocess.Popen[Any]) -> Iterator[list[int]]:
    """SIGTERM, and the signals by which SLURM announces that time is up (submitit then queues the job again)."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
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
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_the_end() -> None:
    """Until SLURM, which sent SIGTERM, kills this task: the job is queued again if it was preempted, not if cancelled.

    A task that returned now would make the job one that is completed. Submitit's own handlers stay at work.
    """
    while True:
        signal.pause()


def record_end(
    directory: Path, on_error: str, loss: str | None = None, command: str = "", cause: BaseException | None = None
) -> None:
    """Says how the job ended; where its own process could not, `loss` is written down as what ended it."""
    if loss is not None:
        directory.mkdir(parents=True, exist_ok=True)
        RunDirectory(directory).write_loss(loss, command, cause)
    state = state_of(directory)
    print(f"{state}: {directory.name}", flush=True)
    if state not in ("finished", "interrupted") and on_error == "stop":
        (directory.parent / STOPPED).touch()


def _loss(code: int) -> str | None:
    if not code:
        return None
    end = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"the job's process {end}"
