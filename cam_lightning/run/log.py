"""A run's log: everything in `log.txt`, what a person needs in the terminal."""

from __future__ import annotations

import logging
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_KNOWN_WARNINGS = (
    # We log values that are equal on every rank, computed from synced counters.
    r".*recommended to use `self\.log\(.*sync_dist=True.*",
    # By design: the method normalises on the device, with its network's own values.
    r".*overridden `on_after_batch_transfer` in `LightningModule`.*",
    # By design: none where the network computes on the same cores.
    r".*does not have many workers.*",
    r".*number of training batches .* is smaller than the logging interval.*",
    # Frozen layers (method/freeze.py).
    r"Found \d+ module\(s\) in eval mode at the start of training.*",
    # The sampler goes on at the batch where training stopped.
    r".*ended before the epoch ended and your dataloader is not resumable.*",
    # Their rows are read before and written again (logger/csv.py).
    r"Experiment logs directory .* exists and is not empty.*",
    # Internal to Lightning with this torch.
    r".*isinstance\(treespec, LeafSpec\).*",
)


def start_logging(run_dir: Path, is_writer: bool) -> None:
    """Sends records to the terminal and to `<run_dir>/log.txt`; ranks that do not write log nothing."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("cam_lightning").setLevel(logging.DEBUG)
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    if not is_writer:
        root.addHandler(logging.NullHandler())
        return
    file = _LogFile(run_dir / "log.txt", encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(file)
    root.addHandler(_terminal_handler())


class _LogFile(logging.FileHandler):
    """A log that a full disk ends: said once, where logging itself would print a traceback for every record."""

    is_lost = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.is_lost:
            self.is_lost = True
            print(f"\n{self.baseFilename} cannot be written: {error.strerror}", file=sys.stderr)


@cache
def terminal() -> Console:
    """The terminal: one object for the log and for progress bars, which would else write over each other."""
    from rich.console import Console

    return Console(stderr=True)


def _terminal_handler() -> logging.Handler:
    from rich.logging import RichHandler

    handler = RichHandler(console=terminal(), show_path=False, show_level=False, log_time_format="%H:%M:%S")
    handler.setLevel(logging.INFO)
    # Lightning's own remarks on the machine and its products are for the file.
    handler.addFilter(lambda record: not record.name.startswith("lightning") or record.levelno >= logging.WARNING)
    return handler
