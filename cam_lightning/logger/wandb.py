"""What a run logs, mirrored to Weights & Biases: numbers, and a fixed sample of overlays at every evaluation."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from cam_lightning.logger.wandb_overlays import WandbOverlays
from cam_lightning.logger.wandb_run import STEP, start_run


class WandbLogger(Logger):
    """Opens the job's run on rank zero; `sink` sees every localization and gives the pictures.

    The pictures of an evaluation are logged with its numbers, at the same step. Errors as `start_run`'s.
    """

    def __init__(
        self,
        run_dir: str,
        project: str = "cam_lightning",
        entity: str | None = None,
        group: str | None = None,
        mode: str = "offline",
        num_overlays: int = 12,
        seed: int = 0,
        colour_map: str = "inferno",
        iou_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        self.project = project
        self.sink = WandbOverlays(run_dir, num_overlays, seed, colour_map, iou_threshold)
        # Lightning's own mark of the first process, set before any process group exists.
        is_first = getattr(rank_zero_only, "rank", 0) == 0
        self.run: Any = start_run(Path(run_dir), project, entity, mode, group) if is_first else None

    @property
    def name(self) -> str:
        return self.project

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.run.log({**metrics, **self.sink.take(), STEP: step})

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | argparse.Namespace, *args: Any, **kwargs: Any) -> None:
        """The run was opened with the configuration."""
