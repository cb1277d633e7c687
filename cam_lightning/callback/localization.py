"""Localization during validation and test, from the forward that classification makes anyway."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, get_args

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from cam_lightning.contracts import (
    Batch,
    ClassifierOutput,
    Evaluator,
    GroundTruth,
    LabelBox,
    Localization,
    LocalizationMetric,
    Reads,
    Results,
    Sink,
    Spec,
    ThresholdSelector,
)
from cam_lightning.functional.box import centre_box
from cam_lightning.localization.localizer import Localizer, Maps, protocol
from cam_lightning.localization.side_threads import side_threads
from cam_lightning.method.base import log_exactly
from cam_lightning.metric.degenerate_maps import DegenerateMaps
from cam_lightning.run.file import json_text

log = logging.getLogger(__name__)


class LocalizationCallback(Callback):
    """Scores the class activation maps of every evaluation, in one pass, beside trivial baselines.

    The maps of the predicted top classes and of the label become boxes; every metric counts them. Metrics
    that look at boxes alone also count each baseline, a centred box of `baselines[name]` of each side, with
    the network's classes: a localization error says something only beside those of boxes that see nothing.
    Evaluators see the network and its input as well. Maps that none of these and no sink reads are not made
    (`contracts.Reads`): where GT-known errors alone are asked for, that of the label is the only one.

    Boxing runs in a thread beside the next batch's forward. Logs `<split>/<metric's key>`,
    `<split>/baseline/<name>/<metric's key>` and `<split>/num_degenerate_maps`; where the localizer has several maps
    or boxes, those of the further ones as `<split>/<arm>/<metric's key>`, with the metrics of `further_metrics[arm]`.
    Sanity checks leave no trace.

    The thresholds that were best in the last validation are kept in every checkpoint, and reported on the test split
    as `…@selected` where the boxes follow the same rule. With `run_dir` the errors over all thresholds are written
    there, as `threshold_curves.json` (of validation, `threshold_curves_val.json`).
    """

    def __init__(
        self,
        localizer: Localizer,
        metrics: Mapping[str, LocalizationMetric],
        further_metrics: Mapping[str, Mapping[str, LocalizationMetric]] | None = None,
        evaluators: Mapping[str, Evaluator] | None = None,
        baselines: Mapping[str, float] | None = None,
        sinks: Mapping[str, Sink] | None = None,
        run_dir: str | None = None,
    ) -> None:
        self.localizer = localizer
        self.baselines = dict(baselines or {})
        self.sinks = list((sinks or {}).values())
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.arms = {"": _Arm(metrics, evaluators or {})}
        for name in localizer.arms:
            if name:
                # What an evaluator asks is asked of maps: once for each, not again for each of its boxes.
                is_map = localizer.arms[name][1] == localizer.arms[""][1]
                asked = {key: _fresh(each) for key, each in (evaluators or {}).items()} if is_map else {}
                self.arms[name] = _Arm((further_metrics or {}).get(name, {}), asked)
            for evaluator in self.arms[name].evaluators.values():
                if hasattr(evaluator, "cam"):
                    evaluator.cam = localizer.cams[localizer.arms[name][0]]
        self.baseline_metrics = {
            name: [_fresh(metric) for metric in metrics.values() if not metric.needs_maps] for name in self.baselines
        }
        self.reads = _most_read([each for each, arm in self._scoring() if not arm.startswith("baseline/")] + self.sinks)
        """Of maps and boxes, what the most demanding of all that is fed reads."""
        self._selection: dict[str, Any] = {}
        self._worker = side_threads(1, "boxing")
        self._running: deque[Future[dict[str, Localization]]] = deque()

    # --- Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # A training ends with the test split: what cannot be written of it is said before anything is trained,
        # and so is what a validation would lack.
        for split in {"fit": ("val", "test"), "validate": ("val",)}.get(stage, ("test",)):
            examples = trainer.datamodule.examples.get(split)  # type: ignore[attr-defined]
            for sink in self.sinks if examples is not None else ():
                if hasattr(sink, "check"):
                    sink.check(split, examples)
            for arm in self.arms.values() if examples is not None else ():
                for selector in arm.selectors():
                    if hasattr(selector, "begin"):
                        selector.begin(split, examples.ids)
        for metric, _ in self._scoring():
            if hasattr(metric, "know_classes"):
                metric.know_classes(trainer.datamodule.class_names)  # type: ignore[attr-defined]

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
        """`thresholds` by key, and the `rule` for maps and boxes that they were chosen under; of further arms too."""
        return self._selection

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._selection = state_dict

    def protocol(self) -> Results:
        """Maps, boxes and baselines with every option that a number depends on."""
        cam, box = self.localizer.cam, self.localizer.box
        results: Results = {"cam": type(cam).__name__}
        results |= {f"cam/{key}": value for key, value in protocol(cam).items()}
        results |= {f"box/{key}": value for key, value in protocol(box).items()}
        for arm, (cam_name, box_name) in self.localizer.arms.items():
            if arm:
                results[f"arm/{arm}"] = {
                    "cam": protocol(self.localizer.cams[cam_name]),
                    "box": protocol(self.localizer.boxes[box_name]),
                }
        return results | {f"baseline/{name}": share for name, share in self.baselines.items()}

    def evaluated_keys(self, has_boxes: bool = True) -> set[str]:
        """What an evaluation can log below its split's name; without true boxes nothing that is an error of boxes."""
        asked = [(metric, f"{arm}/" if arm else "") for metric, arm in self._scoring()]
        return {
            prefix + key for metric, prefix in asked if has_boxes or not _is_of_boxes(metric) for key in metric.specs()
        }

    # --- one evaluation

    def _start(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        # An evaluation that ended in an error leaves batches behind; they are not this one's.
        wait(self._running)
        self._running.clear()
        for metric, _ in self._scoring():
            metric.reset()
            metric.to(pl_module.device)
        if trainer.sanity_checking:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        for name, arm in self.arms.items():
            for selector in arm.selectors():
                if hasattr(selector, "begin"):
                    selector.begin(split, data.examples[split].ids)
                selector.carry(self._carried(name, data) if split == "test" else {})
        names = [data.display_name(name) for name in data.class_names]
        for sink in self.sinks:
            sink.start(split, data.examples[split], names, trainer.global_rank, trainer.world_size)

    def _add(self, trainer: Trainer, pl_module: LightningModule, output: ClassifierOutput, batch: Batch) -> None:
        if trainer.sanity_checking or len(batch.index_B) == 0:
            return
        # Maps that need further forwards make them as the first one was made.
        with pl_module.evaluating():  # type: ignore[operator]
            maps = self.localizer.maps(batch.image_B3HW, output, batch.index_B, batch.truth.label_B, self.reads)
        truth = _on_the_cpu(batch.truth)
        input_size = (batch.image_B3HW.shape[2], batch.image_B3HW.shape[3])
        # One batch may wait while another is boxed; a longer queue would only keep maps in memory.
        while len(self._running) > 1:
            self._running.popleft().result()
        boxed = self._worker.submit(self._score, maps, truth, input_size)
        self._running.append(boxed)
        if any(arm.evaluators for arm in self.arms.values()):
            localizations = boxed.result()
            with pl_module.evaluating():  # type: ignore[operator]
                for name, arm in self.arms.items():
                    for evaluator in arm.evaluators.values():
                        evaluator.update(self.localizer.network, batch.image_B3HW, output, localizations[name], truth)

    def _score(self, maps: Maps, truth: GroundTruth, input_size: tuple[int, int]) -> dict[str, Localization]:
        with torch.inference_mode():
            localizations = self.localizer.boxed(maps, truth.size_B2, input_size)
            for name, arm in self.arms.items():
                for metric in (*arm.metrics.values(), arm.degenerate_maps):
                    metric.update(localizations[name], truth)
            own = localizations[""]
            for name, share in self.baselines.items():
                baseline = _with_boxes(own, centre_box(truth.size_B2, share))
                for metric in self.baseline_metrics[name]:
                    metric.update(baseline, truth)
        further = {name: each for name, each in localizations.items() if name}
        for sink in self.sinks:
            sink.add(own, truth, further)
        return localizations

    def _finish(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if trainer.sanity_checking:
            return
        while self._running:
            self._running.popleft().result()
        values: dict[str, float] = {}
        specs: dict[str, Spec] = {}
        for metric, arm in self._scoring():
            _collect(metric, arm, values, specs)
        log_exactly(pl_module, split, values, specs)  # type: ignore[arg-type]
        if split == "val":
            data = trainer.datamodule  # type: ignore[attr-defined]
            chosen = {name: self._chosen(name, data) for name in self.arms}
            self._selection = chosen.pop("") | ({"further": chosen} if chosen else {})
        for sink in self.sinks:
            sink.finish()
        trainer.strategy.barrier("every rank has written its part")
        if trainer.is_global_zero:
            for sink in self.sinks:
                sink.merge()
            self._write_curves(split)

    # --- thresholds

    def _chosen(self, arm: str, data: Any) -> dict[str, Any]:
        """The thresholds that were best in the validation that ends, and what they were chosen for."""
        thresholds = {key: value for each in self.arms[arm].selectors() for key, value in each.chosen().items()}
        return {"rule": self._rule(arm, data), "chosen_for": self._chosen_for(arm), "thresholds": thresholds}

    def _chosen_for(self, arm: str) -> dict[str, Any]:
        """By key of a threshold, the metric's own options that it depends on, where the metric says."""
        told = [each.chosen_for() for each in self.arms[arm].selectors() if hasattr(each, "chosen_for")]
        return {key: options for each in told for key, options in each.items()}

    def _rule(self, arm: str, data: Any) -> dict[str, Any]:
        """What a threshold is chosen for: of which images, and by which maps and boxes."""
        cam_name, box_name = self.localizer.arms[arm]
        cam, box = self.localizer.cams[cam_name], self.localizer.boxes[box_name]
        rule = {"dataset": type(data).__name__, "num_classes": len(data.class_names)}
        rule |= {"input_size": list(data.input_size), "cam": type(cam).__name__}
        rule |= {f"cam/{key}": value for key, value in protocol(cam).items()}
        return rule | {key: value for key, value in protocol(box).items() if key != "threshold"}

    def _carried(self, arm: str, data: Any) -> dict[str, float]:
        """The thresholds chosen in validation, unless maps, boxes, data or the metric's options are others now."""
        selection = self._selection.get("further", {}).get(arm, {}) if arm else self._selection
        was, now = selection.get("rule"), self._rule(arm, data)
        if selection and was != now:
            log.warning("no @selected threshold: the checkpoint's were chosen for %s, and this is %s", was, now)
            return {}
        before, asked = selection.get("chosen_for", {}), self._chosen_for(arm)
        carried = {}
        for key, threshold in selection.get("thresholds", {}).items():
            # An earlier version's checkpoint does not say.
            if key in before and key in asked and before[key] != asked[key]:
                chosen = (key, before[key], asked[key])
                log.warning("no threshold of %s from validation: it was chosen for %s, and this is %s", *chosen)
            else:
                carried[key] = threshold
        return carried

    def _write_curves(self, split: str) -> None:
        ending = "" if split == "test" else f"_{split}"
        for name, arm in self.arms.items():
            of_arm = f"_{name.replace('/', '_')}" if name else ""
            for selector in arm.selectors():
                if self.run_dir is not None and selector.curves:
                    path = self.run_dir / f"threshold_curves{ending}{of_arm}.json"
                    path.write_text(json_text(selector.curves) + "\n", encoding="utf-8")

    def _scoring(self) -> Iterator[tuple[Any, str]]:
        """Every metric and evaluator, with its arm."""
        for name, arm in self.arms.items():
            for metric in (*arm.metrics.values(), arm.degenerate_maps, *arm.evaluators.values()):
                yield metric, name
        for name, metrics in self.baseline_metrics.items():
            for metric in metrics:
                yield metric, f"baseline/{name}"


class _Arm:
    """What scores one way of localizing."""

    def __init__(self, metrics: Mapping[str, LocalizationMetric], evaluators: Mapping[str, Evaluator]) -> None:
        self.metrics = dict(metrics)
        self.evaluators = dict(evaluators)
        self.degenerate_maps = DegenerateMaps()

    def selectors(self) -> list[ThresholdSelector]:
        return [metric for metric in self.metrics.values() if isinstance(metric, ThresholdSelector)]


def _most_read(fed: list[Any]) -> Reads:
    """What has to be there for each of them; raises ValueError for one that does not say it in the words that are."""
    words = get_args(Reads)
    found = [getattr(each, "reads", words[-1]) for each in fed]
    for each, word in zip(fed, found, strict=True):
        if word not in words:
            raise ValueError(f"{type(each).__name__}.reads is one of {', '.join(words)}; got {word!r}")
    return max(found, key=words.index, default=words[0])


def _is_of_boxes(metric: Any) -> bool:
    """Whether a metric says nothing of images without a true box."""
    return not getattr(metric, "needs_maps", True) or isinstance(metric, ThresholdSelector)


def _collect(metric: Any, arm: str, values: dict[str, float], specs: dict[str, Spec]) -> None:
    """Adds a metric's or an evaluator's values and their specs under the arm's name."""
    computed, told = metric.compute(), metric.specs()
    prefix = f"{arm}/" if arm else ""
    for key, value in computed.items():
        spec = told[key]
        values[prefix + key] = value
        specs[prefix + key] = spec._replace(arm=arm, of=prefix + spec.of if spec.of else "")


def _on_the_cpu(truth: GroundTruth) -> GroundTruth:
    return GroundTruth(*(None if tensor is None else tensor.cpu() for tensor in truth))  # type: ignore[arg-type]


def _with_boxes(localization: Localization, box_B4: Tensor) -> Localization:
    """The same classes, with one and the same box for each of them."""
    num_classes = localization.classes_BT.shape[1]
    proposals = localization.proposals._replace(
        boxes_BP4=box_B4[:, None].expand(-1, num_classes, 4), rank_P=tuple(range(num_classes))
    )
    label = LabelBox(localization.label_map_Bhw, box_B4, localization.label_degenerate_B)
    return localization._replace(proposals=proposals, label=label)


def _fresh(metric: Any) -> Any:
    return metric.clone()
