"""Lightning's TensorBoard logger, which can go on where a run was cut off."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


class ResumableTensorBoard(TensorBoardLogger):
    """Tells TensorBoard to leave out what was logged after the checkpoint that a run goes on from."""

    def __init__(self, save_dir: str, **options: Any) -> None:
        super().__init__(save_dir, **options)
        self._next_step = 0

    def position(self) -> int:
        """The first step of which nothing has been logged."""
        return self._next_step

    def rewind(self, position: int) -> None:
        """Leaves out steps from `position` on; before anything is logged."""
        self._next_step = self._kwargs["purge_step"] = position

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self._next_step = max(self._next_step, (step or 0) + 1)
        super().log_metrics(metrics, step)
