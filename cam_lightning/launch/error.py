"""Errors as their reader needs them: what was wrong and what to do, without the wrappers around it."""

from __future__ import annotations

import errno
import re

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

USER_ERRORS = (ValueError, OSError, FloatingPointError, ImportError, HydraException, OmegaConfBaseException)
"""Errors whose message is meant for the user; the traceback goes to the run's log and status."""
_LOST_WORKER = re.compile(r"DataLoader worker \(pid.*\) (is killed by signal: [\w ]+|exited unexpectedly.*)")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk, and what limits a user's share of it or the size of a file."""


def root_cause(error: BaseException) -> BaseException:
    """The error that a wrapper of Hydra's was raised for; of some, what they mean."""
    while isinstance(error, HydraException) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, RuntimeError) and "operator torchvision::" in str(error):
        return ImportError(
            f"torchvision cannot be used with this torch ({error}): they are not of one release and one kind (CPU or "
            "CUDA). Install both anew, from one place: pip install --force-reinstall torch torchvision"
        )
    if isinstance(error, RuntimeError) and (lost := _LOST_WORKER.search(str(error))):
        return ChildProcessError(
            f"{lost[0].rstrip('. ')}: a process that loads images was ended from outside, most often because memory "
            "ran out (dmesg says so). Give it more, or take a smaller dataset.num_workers or dataset.batch_size; a "
            "training goes on from its last checkpoint with resume=RUN"
        )
    return error


def message(error: BaseException) -> str:
    """What the error says; of an error in a data loader's worker, what the worker's said, without its traceback."""
    text = str(error)
    if text.startswith("Caught ") and "DataLoader worker" in text:
        return text.strip().splitlines()[-1].partition(": ")[2]
    if isinstance(error, OSError) and error.errno in NO_ROOM and error.filename is None:
        return f"a file could not be written ({error.strerror}). Make room; what was written before is kept"
    return text
