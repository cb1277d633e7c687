"""Signals that ask a run to end: at once, or, while training, as soon as its state is written."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What schedulers send before they kill: `kill`, `timeout` and SLURM's end of time, SLURM's early warnings."""
GRACE_SECONDS = 30
"""How long a data loader's worker outlives a signal to all processes, so that a last step can be finished."""


class Interrupted(BaseException):
    """A signal asked the run to end; not an error, so that nothing that handles errors swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interruption:
    """Turns signals into `Interrupted`: where it arrives, or, while `deferred`, where the run asks for it."""

    def __init__(self) -> None:
        self.deferred = False
        self.number: int | None = None
        self._process = 0
        self._has_ended = False

    def listen(self) -> None:
        """Takes the signals over; in the main thread, which alone gets them."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._process = os.getpid()
        self.number, self.deferred, self._has_ended = None, False, False
        for number in SIGNALS:
            signal.signal(number, self._handle)

    @property
    def asked(self) -> bool:
        """Whether a signal has come and is still to be followed."""
        return self.number is not None

    def end(self) -> NoReturn:
        """Raises Interrupted, by the signal that came here, or else by the one that another rank must have got."""
        self._has_ended = True
        raise Interrupted(self.number or signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            # A worker that was forked from this process: it ends with its parent, which may still need it.
            signal.alarm(GRACE_SECONDS)
            return
        if not self._has_ended:
            # What comes later must not cut the end short, in which files are closed.
            self.number = number
            if not self.deferred:
                self.end()


interruption = Interruption()
"""The process's own: signals are the process's, too."""
