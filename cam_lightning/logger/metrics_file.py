"""`metrics.csv`: every number that a run logs, as it comes, whatever other loggers are on."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

COLUMNS = ("time", "step", "epoch", "key", "value")


class MetricsFile(Logger):
    """Appends one row per number to `<run>/metrics.csv`; rows once written are never touched again.

    But for those that a run logged after the checkpoint that it goes on from: they are taken back, and come again.
    """

    def __init__(self, run_dir: str | Path) -> None:
        super().__init__()
        self.path = Path(run_dir) / "metrics.csv"

    @property
    def name(self) -> str:
        return "metrics_file"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        values = dict(metrics)
        epoch = values.pop("epoch", "")
        is_new = self.position() == 0
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(COLUMNS)
            writer.writerows((now, step, epoch, key, value) for key, value in values.items())

    def position(self) -> int:
        """The file's size in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    @rank_zero_only
    def rewind(self, position: int) -> None:
        """Cuts off what was written after `position`; the last row may be half a row, where a run was killed."""
        if self.path.exists():
            with self.path.open("r+b") as file:
                file.truncate(min(position, self.position()))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | argparse.Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration stands in `config.yaml`."""
