"""Locks that end with the processes that hold them, however those end."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from glob import glob
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)


def take(file: IO[str], lock: Callable[[IO[str], int], None]) -> bool:
    """Locks an open file by `fcntl.flock` or `fcntl.lockf`; False where another process holds it.

    A file system without locks (some cluster's) locks nothing, and the log says so, once for each folder.
    """
    try:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        _warn(Path(file.name).parent, str(error.strerror))
    return True


@cache
def _warn(folder: Path, reason: str) -> None:
    log.warning(
        "files in %s cannot be locked (%s): start a sweep, and go on with a run, once at a time", folder, reason
    )


def try_lock(path: Path) -> IO[str] | None:
    """The open file that holds the lock until it is closed here and in every child that inherited it.

    None where another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8")
    if take(file, fcntl.flock):
        return file
    file.close()
    return None


def visible_gpus() -> list[str]:
    """This process's GPUs as CUDA_VISIBLE_DEVICES names them; asked without loading torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(number) for number in range(len(glob("/dev/nvidia[0-9]*")))]
    return [name for name in (part.strip() for part in given.split(",")) if name not in ("", "-1")]


@contextmanager
def held_gpus(count: int, gpus: list[str], folder: Path | None = None, poll: float = 1) -> Iterator[dict[str, IO[str]]]:
    """Waits until `count` of `gpus` are free, and holds them: each GPU's name and the open file that locks it.

    All that this user's sweeps start on this machine share `folder`, so that they never use one GPU twice. Where
    there are fewer than `count` in all, none is held: the job itself says what it lacks.
    """
    folder = folder or Path(tempfile.gettempdir()) / "_".join(
        # Within a SLURM job, numbers count that job's own GPUs.
        ("cam_lightning_gpus", str(os.getuid()), os.environ.get("SLURM_JOB_ID", "")),
    )
    if count > len(gpus):
        yield {}
        return
    with ExitStack() as stack:
        while True:
            held = {gpu: file for gpu in gpus if (file := try_lock(folder / gpu.replace("/", "_"))) is not None}
            for gpu in list(held)[count if len(held) >= count else 0 :]:
                held.pop(gpu).close()
            if held:
                break
            # Not all at the same moment: two jobs that each took half of what they need would try again for ever.
            time.sleep(poll * (0.5 + os.getpid() % 97 / 97))
        for file in held.values():
            stack.enter_context(file)
        yield held
