"""`times.json`: what each of several maps takes, apart from the results, which are the same when made again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer

from cam_lightning.contracts import Batch, Results
from cam_lightning.localization.localizer import Localizer
from cam_lightning.localization.map_times import MapTimes
from cam_lightning.run.directory import RunDirectory

FILE = "times.json"
MAPS = {
    "label": "the true class's",
    "best": "the best class's and the true class's",
    "ranked": "those of the best classes, five at most, and the true class's",
}
"""Which maps of an image were made, by what was read of them (`contracts.Reads`): a time is of all of these."""


class TimesFile(Callback):
    """Measures an evaluation batch by batch, and writes the file on rank zero at its end.

    It stands before the callback that makes the maps, so that a batch's forward ends where this one hears of its end.
    """

    def __init__(
        self, run: RunDirectory, localizer: Localizer, clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self.run = run
        self.times = MapTimes(localizer.cams, clock)
        localizer.measure = self.times.measured
        self._told: Results = {}
        self._num_images = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(pl_module)

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._begin(pl_module)

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._begin(pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._forwarded(batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._forwarded(batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, "test")

    def _start(self, pl_module: LightningModule) -> None:
        self.times.reset()
        self.times.to(pl_module.device)
        self._num_images = 0

    def _begin(self, pl_module: LightningModule) -> None:
        self._count()
        self.times.begin(pl_module.device)

    def _forwarded(self, batch: Batch) -> None:
        self.times.forwarded()
        self._num_images = len(batch.index_B)

    def _count(self) -> None:
        """The batch before, whose maps are made by now; one of which no image could be read is none."""
        if self._num_images > 0:
            self.times.update(self._num_images)
            self._num_images = 0

    def _finish(self, trainer: Trainer, split: str) -> None:
        if trainer.sanity_checking:
            return
        self._count()
        told = self.times.told(split)
        reads = next((each.reads for each in trainer.callbacks if hasattr(each, "reads")), None)  # type: ignore[attr-defined]
        told |= {"protocol/times/maps": MAPS[reads]} if reads in MAPS else {}
        self._told = {**self._told, **told, "specs": {**self._told.get("specs", {}), **told["specs"]}}
        self.run.write_json(FILE, self._told)
