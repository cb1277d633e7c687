"""Localization during validation and test, from the forward that classification makes anyway."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from cam_lightning.contracts import (
    ActivationMap,
    Batch,
    BoxGenerator,
    ClassifierOutput,
    GroundTruth,
    ImageSource,
    Localization,
    LocalizationMetric,
    Network,
)
from cam_lightning.functional.box import centre_box
from cam_lightning.functional.ranking import ranked_classes
from cam_lightning.localization.side_threads import side_threads
from cam_lightning.method.classification import log_exactly
from cam_lightning.metric.degenerate_maps import DegenerateMaps
from cam_lightning.metric.threshold_curve import ThresholdCurve, chosen_thresholds

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes every localized batch of an evaluation: a file of predictions, a gallery of overlays."""

    def start(
        self, split: str, source: ImageSource, class_names: Sequence[str], rank: int, world_size: int
    ) -> None: ...

    def add(self, localization: Localization, truth: GroundTruth, index_B: Tensor) -> None: ...

    def finish(self) -> None:
        """Called on every rank, after every rank has added its last batch and before a barrier."""

    def merge(self) -> None:
        """Called on rank zero, after that barrier."""


class LocalizationCallback(Callback):
    """Scores the class activation maps of every evaluation, in one pass, beside trivial baselines.

    The maps of the predicted top classes and of the label become boxes; every metric counts them. Metrics
    that look at boxes alone also count each baseline, a centred box of `baselines[name]` of each side, with
    the network's classes: a localization error says something only beside those of boxes that see nothing.

    Boxing runs in a thread beside the next batch's forward. Logs `<split>/<metric's key>`,
    `<split>/baseline/<name>/<metric's key>` and `<split>/num_degenerate_maps`; sanity checks leave no trace.

    The thresholds that were best in the last validation are kept in every checkpoint, and reported on the test split
    as `…@selected` where the boxes follow the same rule. With `run_dir` the errors over all thresholds are written
    there, as `threshold_curves.json` (of validation, `threshold_curves_val.json`).
    """

    def __init__(
        self,
        cam: ActivationMap,
        box: BoxGenerator,
        metrics: Mapping[str, LocalizationMetric],
        baselines: Mapping[str, float] | None = None,
        sinks: Mapping[str, Sink] | None = None,
        run_dir: str | None = None,
    ) -> None:
        self.cam = cam
        self.box = box
        self.metrics = dict(metrics)
        self.baselines = dict(baselines or {})
        self.sinks = list((sinks or {}).values())
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.selection: dict[str, Any] = {}
        """`thresholds` by key, and the `rule` for maps and boxes that they were chosen under."""
        self.degenerate_maps = DegenerateMaps()
        self.baseline_metrics = {
            name: [_fresh(metric) for metric in self.metrics.values() if not metric.needs_maps]
            for name in self.baselines
        }
        self._worker = side_threads(1, "boxing")
        self._running: deque[Future[None]] = deque()

    # --- Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check = getattr(self.cam, "check", None)
        if check is not None:
            check(_network(pl_module), trainer.datamodule.input_size)  # type: ignore[attr-defined]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(trainer, pl_module, "test")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._add(trainer, pl_module, outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._add(trainer, pl_module, outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module, "test")

    def state_dict(self) -> dict[str, Any]:
        return self.selection

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.selection = state_dict

    # --- one evaluation

    def _start(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        # An evaluation that ended in an error leaves batches behind; they are not this one's.
        wait(self._running)
        self._running.clear()
        for metric in self._all_metrics():
            metric.reset()
            metric.to(pl_module.device)
        if trainer.sanity_checking:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        thresholds = self._carried(data) if split == "test" else {}
        for curve in self._curves():
            curve.carry(thresholds)
        names = [data.display_name(name) for name in data.class_names]
        for sink in self.sinks:
            sink.start(split, data.examples[split], names, trainer.global_rank, trainer.world_size)

    def _add(self, trainer: Trainer, pl_module: LightningModule, output: ClassifierOutput, batch: Batch) -> None:
        if trainer.sanity_checking or len(batch.index_B) == 0:
            return
        # Maps that need further forwards make them as the first one was made.
        with pl_module.evaluating():  # type: ignore[operator]
            maps = activation_maps(_network(pl_module), self.cam, batch.image_B3HW, output, batch.truth.label_B)
        truth = _on_the_cpu(batch.truth)
        input_size = (batch.image_B3HW.shape[2], batch.image_B3HW.shape[3])
        # One batch may wait while another is boxed; a longer queue would only keep maps in memory.
        while len(self._running) > 1:
            self._running.popleft().result()
        self._running.append(self._worker.submit(self._score, maps, truth, batch.index_B.cpu(), input_size))

    def _score(
        self,
        maps: tuple[Tensor, Tensor, Tensor],
        truth: GroundTruth,
        index_B: Tensor,
        input_size: tuple[int, int],
    ) -> None:
        with torch.inference_mode():
            localization = localize(self.box, *maps, truth.size_B2, input_size)
            for metric in self.metrics.values():
                metric.update(localization, truth)
            self.degenerate_maps.update(localization, truth)
            for name, share in self.baselines.items():
                baseline = _with_boxes(localization, centre_box(truth.size_B2, share))
                for metric in self.baseline_metrics[name]:
                    metric.update(baseline, truth)
        for sink in self.sinks:
            sink.add(localization, truth, index_B)

    def _finish(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if trainer.sanity_checking:
            return
        while self._running:
            self._running.popleft().result()
        values: dict[str, float] = {}
        for metric in (*self.metrics.values(), self.degenerate_maps):
            values |= metric.compute()
        for name, metrics in self.baseline_metrics.items():
            for metric in metrics:
                values |= {f"baseline/{name}/{key}": value for key, value in metric.compute().items()}
        log_exactly(pl_module, split, values)
        if split == "val":
            rule = self._rule(trainer.datamodule)  # type: ignore[attr-defined]
            self.selection = {"rule": rule, "thresholds": chosen_thresholds(values)}
        for sink in self.sinks:
            sink.finish()
        trainer.strategy.barrier("every rank has written its part")
        if trainer.is_global_zero:
            for sink in self.sinks:
                sink.merge()
            self._write_curves(split)

    def _curves(self) -> list[ThresholdCurve]:
        return [metric for metric in self.metrics.values() if isinstance(metric, ThresholdCurve)]

    def _rule(self, data: Any) -> dict[str, Any]:
        """What a threshold is chosen for: of which images, and by which maps and boxes."""
        rule = {"dataset": type(data).__name__, "num_classes": len(data.class_names)}
        rule |= {"input_size": list(data.input_size), "cam": type(self.cam).__name__}
        rule |= {f"cam/{key}": value for key, value in protocol(self.cam).items()}
        return rule | {key: value for key, value in protocol(self.box).items() if key != "threshold"}

    def _carried(self, data: Any) -> dict[str, float]:
        """The thresholds chosen in validation, unless maps, boxes or data are others now."""
        was, now = self.selection.get("rule"), self._rule(data)
        if self._curves() and self.selection and was != now:
            log.warning("no @selected threshold: the checkpoint's were chosen for %s, and this is %s", was, now)
            return {}
        return self.selection.get("thresholds", {})

    def _write_curves(self, split: str) -> None:
        name = "threshold_curves.json" if split == "test" else f"threshold_curves_{split}.json"
        for curve in self._curves():
            if self.run_dir is not None and curve.curves:
                (self.run_dir / name).write_text(json.dumps(curve.curves) + "\n", encoding="utf-8")

    def _all_metrics(self) -> list[Any]:
        baselines = [metric for metrics in self.baseline_metrics.values() for metric in metrics]
        return [*self.metrics.values(), self.degenerate_maps, *baselines]


def protocol(part: ActivationMap | BoxGenerator) -> dict[str, Any]:
    """The options of a part as a results file holds them; of one that does not tell, none."""
    return getattr(part, "protocol", dict)()


def activation_maps(
    network: Network, cam: ActivationMap, image_B3HW: Tensor, output: ClassifierOutput, label_B: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The ranked classes (B, T), their probabilities (B, T), and raw maps (B, T, h, w), all on the CPU.

    Where there is a label, its map follows as the last of T + 1.
    """
    classes_BT = ranked_classes(output.logits_BC)
    probability_BT = output.logits_BC.float().softmax(1).gather(1, classes_BT)
    wanted = classes_BT if label_B is None else torch.cat([classes_BT, label_B[:, None]], dim=1)
    map_BThw = cam(network, image_B3HW, output, wanted)
    return classes_BT.cpu(), probability_BT.cpu(), map_BThw.float().cpu()


def localize(
    box: BoxGenerator,
    classes_BT: Tensor,
    probability_BT: Tensor,
    map_BThw: Tensor,
    size_B2: Tensor,
    input_size: tuple[int, int],
) -> Localization:
    """Boxes of the maps of `activation_maps`; the label's map gives its first proposal."""
    label_proposals = box(map_BThw[:, -1:], size_B2, input_size)
    return Localization(
        classes_BT=classes_BT,
        probability_BT=probability_BT,
        map_BThw=map_BThw[:, :-1],
        proposals=box(map_BThw[:, :-1], size_B2, input_size),
        label_map_Bhw=map_BThw[:, -1],
        label_box_B4=label_proposals.boxes_BP4[:, 0],
        label_degenerate_B=label_proposals.degenerate_BP[:, 0],
    )


def _on_the_cpu(truth: GroundTruth) -> GroundTruth:
    return GroundTruth(
        label_B=truth.label_B.cpu(),
        boxes_BN4=truth.boxes_BN4.cpu(),
        num_boxes_B=truth.num_boxes_B.cpu(),
        size_B2=truth.size_B2.cpu(),
        mask_BHW=None if truth.mask_BHW is None else truth.mask_BHW.cpu(),
    )


def _network(method: LightningModule) -> Network:
    return method.network  # type: ignore[return-value]


def _with_boxes(localization: Localization, box_B4: Tensor) -> Localization:
    """The same classes, with one and the same box for each of them."""
    num_classes = localization.classes_BT.shape[1]
    proposals = localization.proposals._replace(
        boxes_BP4=box_B4[:, None].expand(-1, num_classes, 4), rank_P=tuple(range(num_classes))
    )
    return localization._replace(proposals=proposals, label_box_B4=box_B4)


def _fresh(metric: LocalizationMetric) -> Any:
    return metric.clone()  # type: ignore[attr-defined]
