"""One run's directory: made so that no two runs can share it, and never left in doubt about how the run ended."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from cam_lightning.run.file import write_json, write_text
from cam_lightning.run.lock import take

RUN_DIR_VARIABLE = "CAM_LIGHTNING_RUN_DIR"
"""How rank zero tells the processes that it starts where the run lives."""

LOCK = "running.lock"


class RunDirectory:
    """The files of one run. Rank zero alone writes them; other ranks hold the same object and write nothing."""

    def __init__(self, path: Path, is_writer: bool = True) -> None:
        self.path = path
        self.is_writer = is_writer
        self.is_resumed = False

    @classmethod
    def create(cls, root: str | Path, name: str, wanted: str | Path | None = None) -> RunDirectory:
        """A fresh directory below `root`, or `wanted`, which must be empty or absent (FileExistsError).

        Neither may lie inside another run's directory (FileExistsError).

        In a process of another rank, rank zero's directory: handed down where rank zero started the process,
        `wanted` where something else did (torchrun, SLURM; ValueError where it is None).
        """
        if _rank() > 0:
            given = os.environ.get(RUN_DIR_VARIABLE) or wanted
            if given is None:
                raise ValueError("processes that are started from outside need run_dir=PATH, to share one directory")
            return cls(Path(given).expanduser().absolute(), is_writer=False)
        if wanted is not None:
            path = Path(str(wanted)).expanduser().absolute()
            if path.is_file() or (path.is_dir() and any(path.iterdir())):
                raise FileExistsError(
                    f"run_dir={path} is already in use. Give another, or leave run_dir out: each run then gets its own."
                )
            require_outside_of_runs(path)
            with _named_as_place(path):
                path.mkdir(parents=True, exist_ok=True)
                # Two runs told to use the same folder in the same instant: the second cannot make this file.
                (path / "status.json").touch(exist_ok=False)
        else:
            folder = Path(root).expanduser().absolute()
            require_outside_of_runs(folder / name)
            with _named_as_place(folder):
                path = _make_unique(folder, name)
        os.environ[RUN_DIR_VARIABLE] = str(path)
        return cls(path)

    @classmethod
    def reopen(cls, path: str | Path) -> RunDirectory:
        """The directory of a run that goes on; raises FileNotFoundError where no run has been."""
        run = cls(Path(str(path)).expanduser().absolute(), is_writer=_rank() == 0)
        if not _is_run(run.path):
            raise FileNotFoundError(
                f"resume={run.path} is not a run's directory: it has no config.yaml and status.json of a run"
            )
        run.is_resumed = True
        os.environ[RUN_DIR_VARIABLE] = str(run.path)
        return run

    def lock(self) -> None:
        """Keeps other processes from going on with a run that has not ended; raises FileExistsError for the other.

        The operating system gives the lock back when the process ends, however it ends.
        """
        if not self.is_writer:
            return
        # Kept open, and a lock of the process, not of the file's opening: workers that are forked do not hold it.
        with _named_as_place(self.path):
            self._lock_file = (self.path / LOCK).open("w")
        if not take(self._lock_file, fcntl.lockf):
            self._lock_file.close()
            raise FileExistsError(f"the run in {self.path} has not ended: another process is writing there")

    def unlock(self) -> None:
        """Lets the run be resumed."""
        if self.is_writer:
            (self.path / LOCK).unlink(missing_ok=True)
            self._lock_file.close()

    def write_text(self, name: str, text: str) -> None:
        """Writes one file whole or not at all."""
        if self.is_writer:
            write_text(self.path / name, text)

    def write_json(self, name: str, content: Any) -> None:
        """Writes one JSON file whole or not at all; as `run.file.write_json`."""
        if self.is_writer:
            write_json(self.path / name, content)

    def remove(self, name: str) -> None:
        """Takes one file away, where it is there."""
        if self.is_writer:
            (self.path / name).unlink(missing_ok=True)

    def files(self) -> dict[str, str]:
        """What the run has written for people, by name."""
        names = {
            "report": "report.html",
            "results": "results.json",
            "predictions": "predictions.csv",
            "curves": "metrics.csv",
            "overlays": "overlays/test.png",
            "checkpoint": "checkpoints/last.ckpt",
        }
        return {name: str(self.path / file) for name, file in names.items() if (self.path / file).exists()}

    def write_status(self, state: str, command: str, error: BaseException | None = None) -> None:
        """Records `running`, `finished`, `failed` or `interrupted`, with the traceback of what ended the run."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        status: dict[str, Any] = {"state": state, "time": now, "command": command}
        if error is not None:
            status["error"] = f"{type(error).__name__}: {error}"
            status["traceback"] = "".join(traceback.format_exception(error))
        self.write_json("status.json", status)

    def write_loss(self, reason: str, command: str = "", cause: BaseException | None = None) -> None:
        """Records `failed` for a run that could not itself; one that has said how it ended is left as it is."""
        status = self.read_status()
        if status.get("state") in (None, "queued", "running"):
            error = ChildProcessError(reason)
            error.__cause__ = cause
            self.write_status("failed", status.get("command", command), error)

    def read_status(self) -> dict[str, Any]:
        """The content of `status.json`; nothing where there is no run yet, or where it is damaged."""
        try:
            status = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return {}
        return status if isinstance(status, dict) else {}


def _rank() -> int:
    """This process's rank, as torchrun, SLURM or Lightning says before any of them has started."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK") if _is_slurm_task() else ("RANK", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def _is_slurm_task() -> bool:
    """Whether Lightning will leave the ranks to SLURM: by its own rule (SLURMEnvironment), without loading torch.

    Elsewhere in an allocation (a batch script without tasks of its own, an interactive shell) every process has
    SLURM_PROCID=0, those too that Lightning starts.
    """
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file() and (path / "status.json").is_file()


@contextmanager
def _named_as_place(path: Path) -> Iterator[None]:
    """Says of an error that it is the place of the run that cannot be written, and what other place may be given."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(
            f"{path} cannot hold a run ({reason}). Another place is paths.runs=FOLDER, or run_dir=PATH for this run"
        ) from error


def require_outside_of_runs(path: Path) -> None:
    """Raises FileExistsError for a place inside the directory of a run."""
    for above in path.parents:
        if _is_run(above):
            raise FileExistsError(
                f"{path} lies inside {above}, the directory of another run. Give a place outside of it "
                "(run_dir or paths.runs); to go on with that run, use resume=RUN"
            )


def _make_unique(root: Path, name: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    while True:
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        path = root / f"{stamp}_{name}_{secrets.token_hex(3)}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
