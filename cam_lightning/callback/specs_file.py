"""`specs.json`: what each number is that a run has logged, for whoever reads it before there are results."""

from __future__ import annotations

import json
from typing import Any

from lightning import Callback, LightningModule, Trainer

from cam_lightning.run.directory import RunDirectory

FILE = "specs.json"


class SpecsFile(Callback):
    """Writes the file anew, on rank zero, whenever an evaluation or an epoch has brought new numbers.

    In the order in which they were made. A run that goes on keeps what it knew of the numbers logged before.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._written: dict[str, Any] = _read(run) if run.is_resumed else {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._write(pl_module)

    def _write(self, pl_module: Any) -> None:
        specs = self._written | {key: spec._asdict() for key, spec in pl_module.specs.items()}
        if specs != self._written:
            self.run.write_json(FILE, specs)
            self._written = specs


def _read(run: RunDirectory) -> dict[str, Any]:
    try:
        specs = json.loads((run.path / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return specs if isinstance(specs, dict) else {}
