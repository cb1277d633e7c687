"""Signals that ask a run to end: at once, or, while training, as soon as its state is written."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""What schedulers send before they kill: `kill`, `timeout` and SLURM's end of time, SLURM's early warnings; Ctrl-C."""
GRACE_SECONDS = 30
"""How long a data loader's worker outlives a signal to all processes, so that a last step can be finished."""
SAID = b"\nsaving after this step; Ctrl-C again ends at once, and what was saved before is kept\n"


class Interrupted(BaseException):
    """A signal asked the run to end; not an error, so that nothing that handles errors swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interruption:
    """Turns signals into `Interrupted`: where it arrives, or, while `deferred`, where the run asks for it.

    A second Ctrl-C does not wait.
    """

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
            # A worker that was forked from this process, and has not yet begun.
            signal.alarm(GRACE_SECONDS)
            return
        if self._has_ended:
            # What comes later must not cut the end short, in which files are closed.
            return
        is_second = self.number == number == signal.SIGINT
        self.number = number
        if not self.deferred or is_second:
            self.end()
        if number == signal.SIGINT and os.environ.get("LOCAL_RANK", "0") == "0":
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, SAID)


interruption = Interruption()
"""The process's own: signals are the process's, too."""


def outlive_signals() -> None:
    """In a data loader's worker: it ends when its parent says so, and not at a signal that went to all processes.

    The parent may still need it for a last step. A parent that is gone is noticed by the data loader itself.
    """
    parent = os.getppid()
    # Blocked, so that torch's own handler of a worker's SIGTERM, which is not Python's, does not end it.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def heed() -> None:
        while True:
            found = signal.sigwaitinfo(SIGNALS)
            if found.si_pid == parent:
                os._exit(0)
            signal.alarm(GRACE_SECONDS)

    threading.Thread(target=heed, daemon=True, name="signals").start()
