"""Lightning's CSV logger, which can go on where a run was cut off."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only


class ResumableCsv(CSVLogger):
    """Lightning's would delete the rows that it finds."""

    def __init__(self, save_dir: str, **options: Any) -> None:
        super().__init__(save_dir, **options)
        path = Path(self.log_dir) / "metrics.csv"
        self._found: list[dict[str, Any]] = []
        if path.exists():
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    self._found = list(csv.DictReader(file))
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{path} is damaged ({error}): move it away to go on without its rows") from error
        self._count = len(self._found)

    def position(self) -> int:
        """How many rows there are."""
        return self._count

    @rank_zero_only
    def rewind(self, position: int) -> None:
        """Writes the first `position` of the rows that were found anew; before anything is logged."""
        rows = self._found[:position]
        self.experiment.metrics = [{key: value for key, value in row.items() if value} for row in rows]
        self.save()
        self._count, self._found = len(rows), []

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self._count += 1
        super().log_metrics(metrics, step)
