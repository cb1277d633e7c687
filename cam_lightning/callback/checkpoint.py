"""Checkpoints that a run can go on from as if nothing had happened, wherever it was cut off."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from cam_lightning.callback.best import Best, no_direction, no_monitor
from cam_lightning.contracts import Rewindable
from cam_lightning.run.checkpoint import BEST, LAST, PREVIOUS
from cam_lightning.run.interruption import interruption

log = logging.getLogger(__name__)


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` every so many minutes and after every epoch, and `best.ckpt` by a validation number.

    `last.ckpt` is written between batches only, once everything about the batch before has been logged, or
    before a validation: there the state is the network's, the optimizer's and a position, `(epoch, batch)`.
    The one before it stays as `previous.ckpt`. A signal (`interruption`) asks for one more, and ends training.
    Several processes agree on it at a batch. During an evaluation, whose batches they do not share, a signal
    ends them at once; so one more is always written before the validation that ends an epoch.

    `monitor` names any key that validation logs; ValueError where there is none, before training, or after the first
    validation where parts of other packages could have logged it. `mode` is `min` or `max`; None is the direction that
    the number's spec says, and a ValueError for another package's. `best.ckpt` is for testing, without the optimizer's
    state. `every_minutes=None` leaves the ends of epochs.

    `beside` keeps more of the kind: a file's stem, and the keys of which the first that validation logs decides, in the
    direction that its spec says; none is written where none is logged. `kept` says of each which epoch it is of,
    and what validation logged there, so that what choosing by classes costs in localization, and the other way round,
    can be read off one run.
    """

    def __init__(
        self,
        dirpath: str,
        monitor: str | None = "val/classification_error/top1",
        mode: str | None = None,
        every_minutes: float | None = 10.0,
        beside: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f"callback.checkpoint.mode is null, min or max; got {mode!r}")
        self.folder = Path(dirpath)
        self.monitor = monitor
        self.mode = mode
        self.bests = [] if monitor is None else [Best(BEST, (monitor,), mode, is_required=True)]
        self.bests += [Best(f"{name}.ckpt", tuple(keys)) for name, keys in (beside or {}).items()]
        taken = {LAST, PREVIOUS} | ({BEST} if monitor is not None else set())
        if any(best.file in taken or Path(best.file).name != best.file for best in self.bests[monitor is not None :]):
            raise ValueError(
                f"callback.checkpoint.beside names files other than {', '.join(sorted(taken))}; got {beside}"
            )
        self.every_seconds = math.inf if every_minutes is None else every_minutes * 60
        self._saved_at = 0.0
        self._best: Best | None = None
        """Which of the best is being written, which nothing goes on from."""
        self._voters: Any = None
        self._position: dict[str, Any] = {}
        """Where training stands: what the checkpoint that is being written, or was just read, says."""

    @property
    def best_model_path(self) -> str:
        """Where Lightning looks for the best checkpoint; empty where there is none."""
        path = self.folder / BEST
        return str(path) if path.is_file() else ""

    # --- when

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._require_a_monitor(trainer, pl_module)
        for best in self.bests:
            if (self.folder / best.file).is_file():
                # Its own value, not one that a checkpoint remembers: the file may be younger than the checkpoint.
                best.read(self.folder)

    def _require_a_monitor(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raises ValueError where validation is known not to log what is monitored, or it may be anybody's."""
        parts = [pl_module, *trainer.callbacks]  # type: ignore[attr-defined]
        if self.monitor is None or trainer.limit_val_batches == 0:
            return
        keys, without_boxes = (
            {f"val/{key}" for part in parts if hasattr(part, "evaluated_keys") for key in part.evaluated_keys(boxes)}
            for boxes in (True, False)
        )
        if not all(map(_tells_its_keys, parts)):
            if self.mode is None and self.monitor not in keys:
                raise ValueError(no_direction(self.monitor))
            return
        if self.monitor not in keys:
            raise ValueError(no_monitor(self.monitor, keys))
        val = trainer.datamodule.examples.get("val")  # type: ignore[attr-defined]
        if val is not None and val.num_with_boxes == 0 and self.monitor not in without_boxes:
            raise ValueError(no_monitor(self.monitor, without_boxes, ", of whose images none has a box"))

    @property
    def kept(self) -> dict[str, dict[str, Any]]:
        """By a file's stem, what it is the best by, of which epoch, and what validation logged there."""
        return {best.file.removesuffix(".ckpt"): best.record for best in self.bests if best.record}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Before anything else that the ranks do together, which would only hang.
        if trainer.world_size > 1:
            self._require_one_position(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        interruption.deferred = True
        if trainer.world_size > 1 and self._voters is None:
            # Of CPUs: a vote by way of a GPU would have every step wait until the GPU has done the one before.
            timeout = getattr(trainer.strategy, "_timeout", None)
            self._voters = torch.distributed.new_group(backend="gloo", timeout=timeout)
        if self._position.get("batch") == 0:
            # Nothing of an epoch is left. Where training is counted in steps, Lightning restarts an epoch all
            # the same, and would take its beginning for the moment after a validation.
            trainer.fit_loop.epoch_loop.restarting = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        if epoch > 0 and (self._position.get("epoch"), self._position.get("batch")) != (epoch, 0):
            self._save(trainer, batch=0)
        if self._agreed(trainer)[1]:
            interruption.end()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Gradients that wait for a step are not in a checkpoint. And after a validation inside an epoch, or
        # before its first batch, Lightning could not tell on which side of the validation it was.
        if batch_idx % trainer.accumulate_grad_batches == 0 and batch_idx % (trainer.val_check_batch or math.inf) != 0:
            self._save_and_end_if_asked(trainer, batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._is_before_validation(trainer):
            # Several processes cannot agree on a checkpoint once each is at batches of its own.
            self._save_and_end_if_asked(trainer, trainer.num_training_batches, is_due=trainer.world_size > 1)

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if not interruption.asked:
            return
        if trainer.world_size == 1 and self._is_before_validation(trainer):
            self._save(trainer, trainer.num_training_batches)
        interruption.end()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or _is_trial(trainer):
            return
        for best in self.bests:
            if best.is_improved(trainer.callback_metrics, getattr(pl_module, "specs", {}), trainer.current_epoch + 1):
                self._best = best
                trainer.save_checkpoint(self.folder / best.file, weights_only=False)
                self._best = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, batch=0)
        interruption.deferred = False
        if interruption.asked:
            interruption.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        interruption.deferred = False

    # --- what

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._best is not None:
            # Other callbacks' states stay: thresholds that were chosen in this validation belong to these weights.
            del checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
            checkpoint |= {"best_value": self._best.value, "monitor": self._best.monitor, "record": self._best.record}
            return
        checkpoint["position"] = self._position
        _mark_position(checkpoint["loops"]["fit_loop"], self._position["batch"], self._position["is_before_validation"])

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._position = checkpoint.get("position", {})

    def _save_and_end_if_asked(self, trainer: Trainer, batch: int | float, is_due: bool = False) -> None:
        by_time, is_asked = self._agreed(trainer)
        if is_due or by_time or is_asked:
            self._save(trainer, batch)
        if is_asked:
            interruption.end()

    def _save(self, trainer: Trainer, batch: int | float) -> None:
        if _is_trial(trainer):
            return
        self._position = {
            # The epoch that goes on, or the next, where one has ended; and how many of its batches are done.
            "epoch": trainer.current_epoch,
            "batch": int(batch),
            "step": trainer.global_step,
            "is_before_validation": trainer.validating,
            "loggers": {
                type(each).__name__: each.position() for each in trainer.loggers if isinstance(each, Rewindable)
            },
        }
        trainer.save_checkpoint(self.folder / LAST, weights_only=False, storage_options={"keep_as": PREVIOUS})
        self._saved_at = time.monotonic()

    def _require_one_position(self, trainer: Trainer) -> None:
        """Raises ValueError on every rank unless all of them read the same checkpoint, or none."""
        own_3 = torch.tensor([self._position.get(key, -1) for key in ("epoch", "batch", "step")])
        own_3 = own_3.to(trainer.strategy.root_device)
        of_ranks = [torch.empty_like(own_3) for _ in range(trainer.world_size)]
        torch.distributed.all_gather(of_ranks, own_3)
        first, *others = (_words(*position_3.tolist()) for position_3 in of_ranks)
        for rank, other in enumerate(others, 1):
            if other != first:
                raise ValueError(
                    f"the processes have not read the same checkpoint of {self.folder}: rank 0 goes on from {first}, "
                    f"rank {rank} from {other}. One of them could not read {LAST} and took the one before; see that "
                    "every node can read the folder, and start again with resume"
                )

    def _agreed(self, trainer: Trainer) -> tuple[bool, bool]:
        """Whether a checkpoint is due and whether an end is asked for, the same on every rank."""
        is_due = trainer.is_global_zero and time.monotonic() - self._saved_at >= self.every_seconds
        if trainer.world_size == 1:
            return is_due, interruption.asked
        votes = torch.tensor([is_due, interruption.asked], dtype=torch.int64)
        torch.distributed.all_reduce(votes, group=self._voters)
        due, asked = votes.tolist()
        return due > 0, asked > 0

    @staticmethod
    def _is_before_validation(trainer: Trainer) -> bool:
        """Whether a validation begins that ends an epoch of training."""
        ends_epoch = trainer.fit_loop.batch_idx + 1 == trainer.num_training_batches
        return trainer.state.fn == "fit" and not trainer.sanity_checking and ends_epoch


def _tells_its_keys(part: Any) -> bool:
    """Whether a part logs in evaluations what its `evaluated_keys` say, or nothing: another package's may log more."""
    return type(part).__module__.partition(".")[0] in ("cam_lightning", "lightning")


def _words(epoch: int, batch: int, step: int) -> str:
    return f"epoch {epoch}, batch {batch}, step {step}" if step >= 0 else "the beginning"


def _is_trial(trainer: Trainer) -> bool:
    """Whether a few batches are only tried out: nothing is kept of them."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]


def _mark_position(loops: dict[str, Any], batch: int, is_before_validation: bool) -> None:
    """Makes the counters of Lightning's fit loop say, without doubt, that `batch` batches of the epoch are done.

    As they are counted while hooks run, some are ahead of others; what Lightning makes of that depends on the
    hook. Here all are equal; an epoch that goes on has begun and not ended; a validation that is to come has
    begun with its first batch (that is how Lightning knows that it must run it).
    """
    epochs, batches, validation = (
        loops[name] for name in ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress")
    )
    batches["total"] = dict.fromkeys(batches["total"], batches["total"]["completed"])
    batches["current"] = dict.fromkeys(batches["current"], batch)
    batches["is_last_batch"] = False
    begun = {"ready": 1, "started": 1} if is_before_validation else {}
    validation["total"] = dict.fromkeys(validation["total"], 0) | begun
    validation["current"] = dict.fromkeys(validation["current"], 0)
    if batch == 0:
        for count in ("total", "current"):
            epochs[count] = dict.fromkeys(epochs[count], epochs[count]["completed"])
