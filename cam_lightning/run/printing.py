"""Standard output that outlives its reader."""

from __future__ import annotations

import io
import os
import stat
import sys
from typing import Any


class _Outliving(io.FileIO):
    """A pipe into which one can go on writing, in vain, when nobody reads it any more."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def outlive_reader() -> None:
    """Makes `print` go on silently where the reader of a pipe has left, as `| head` does.

    A training run of hours is not to fail because its last table is not wanted.
    """
    stdout = sys.stdout
    if stdout is sys.__stdout__ and stdout is not None and stat.S_ISFIFO(os.fstat(stdout.fileno()).st_mode):
        stdout.flush()
        pipe = io.BufferedWriter(_Outliving(stdout.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(pipe, encoding=stdout.encoding, errors=stdout.errors, line_buffering=True)
