"""Localization errors at every threshold, and at thresholds chosen in other ways than the run's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import BoxGenerator, GroundTruth, Localization, Reads, Spec, ThresholdSweep
from cam_lightning.functional.overlap import best_overlap
from cam_lightning.functional.ranking import rank_of_label
from cam_lightning.functional.threshold_curve import check_thresholds
from cam_lightning.metric.counter import CounterMetric, error_rate
from cam_lightning.metric.pseudo_box import pseudo_boxes

log = logging.getLogger(__name__)

KEYS = {
    "localization_error/top1": "localization error, top-1",
    "localization_error/top5": "localization error, top-5",
    "gt_known_error": "GT-known error",
}
"""The errors that are swept, and their titles."""
RULES = {
    "selected": "threshold selected in validation",
    "label_free": "threshold selected in validation without boxes",
    "oracle": "best threshold of this split (oracle)",
}
"""How a threshold was chosen, as a suffix of a key, and in words."""
LABEL_FREE = "@label_free"
COST = "num_boxed_images_for_selection"
"""The key of how many validation images have the boxes that `…@selected` was chosen by: what it costs."""


class ThresholdCurve(CounterMetric):
    """GT-known and top-1, top-5 localization errors of the run's own rule at many thresholds, from one sweep per map.

    At a threshold t every error is what the run gives with `box.threshold=t`. A guess counts only where its class is
    the label, so the label's map alone is swept. Thresholds lie `interval` apart from 0 to below 1, where `fixed` has
    them, and at the box's own. `input_size` is the network's, an int or height and width; only boxes of frame `input`
    need it. Images without a known box are not counted; a box generator without a threshold has no curve, and no key.

    `…@label_free` is a threshold chosen as `…@selected` is, by as many hits as possible on the validation images, but
    against boxes that nobody drew: `label_free` is the share of each side of a centred box, or the run of another
    network or checkpoint whose boxes they are (`metric/pseudo_box.py`). The images' labels are read, their boxes are
    not: it is what remains where none are known (the realistic protocol of Murtaza et al. 2025, WACV, has pseudo boxes
    of selective search, of a region proposal network and of CLIP). None leaves it out. A centred box that the whole
    image hits says nothing about a threshold: every one that is low enough hits all of them. A warning says so.
    """

    needs_maps = True
    reads: Reads = "label"
    hits: Tensor
    pseudo_hits: Tensor

    def __init__(
        self,
        box: BoxGenerator,
        fixed: Sequence[float] = (0.3,),
        interval: float = 0.01,
        iou_threshold: float = 0.5,
        input_size: int | Sequence[int] = 224,
        label_free: float | str | None = None,
    ) -> None:
        if not 0 < interval <= 1 or not all(0 <= threshold < 1 for threshold in fixed):
            raise ValueError(
                f"metric.threshold_curve.interval lies in (0, 1] and its fixed thresholds in [0, 1); "
                f"got {interval} and {list(fixed)}"
            )
        # Rounded, so that the grid has the very number that a user means by 0.07.
        grid = np.round(np.arange(0, 1, interval), 12).tolist()
        super().__init__(num_images=(), num_pseudo=())
        self.box = box if isinstance(box, ThresholdSweep) else None
        # So that the run's own error is on the curve, and never below its oracle; of raw maps it may lie beyond 0..1.
        threshold = getattr(box, "threshold", None)
        own = [] if threshold is None else [threshold]
        self._sweep_at([*grid, *fixed, *own])
        self.fixed = tuple(fixed)
        self.iou_threshold = iou_threshold
        height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
        self.input_size = (int(height), int(width))
        self.pseudo_boxes = pseudo_boxes(label_free)
        self.boxed_by = label_free
        """Whose boxes a label-free threshold is chosen by, as it was given."""
        if isinstance(label_free, int | float) and label_free**2 >= iou_threshold:
            log.warning(
                "metric.threshold_curve.label_free=%g: the whole image overlaps that box by %.2f and always hits, so "
                "no threshold is better than the lowest; give a share below %.2f",
                label_free,
                label_free**2,
                iou_threshold**0.5,
            )
        self.is_selecting = False
        """Whether the images that come are those that a label-free threshold is chosen on."""
        self.selected: dict[str, float] = {}
        self.label_free: dict[str, float] = {}
        self.num_boxed: float | None = None
        self.curves: dict[str, list[float]] = {}
        """Of the last `compute`: `threshold`, and the error under each key."""
        self._chosen: dict[str, float] = {}

    def begin(self, split: str, ids: Sequence[str]) -> None:
        """Takes which split is to come; a label-free threshold is chosen on any but the test split."""
        self.is_selecting = split != "test" and self.pseudo_boxes is not None and self.box is not None
        if self.is_selecting and self.pseudo_boxes is not None:
            self.pseudo_boxes.begin(ids)

    def carry(self, thresholds: Mapping[str, float]) -> None:
        """Reports these thresholds by key, as `chosen` gave them on another split; before any image is counted."""
        self.num_boxed = thresholds.get(COST)
        self.label_free = {key.removesuffix(LABEL_FREE): t for key, t in thresholds.items() if key.endswith(LABEL_FREE)}
        self.selected = {key: t for key, t in thresholds.items() if key in KEYS}
        carried = {*self.selected.values(), *self.label_free.values()}
        if not carried <= set(self.thresholds_Q.tolist()):
            self._sweep_at([*self.thresholds_Q.tolist(), *carried])

    def _sweep_at(self, thresholds: Sequence[float]) -> None:
        """Sets what is swept, with counters of its length."""
        self.thresholds_Q = np.unique(np.asarray(thresholds, np.float64))
        check_thresholds(self.thresholds_Q)
        shape = (len(KEYS), len(self.thresholds_Q))
        for name in ("hits", "pseudo_hits"):
            self.add_state(name, torch.zeros(shape, dtype=torch.int64, device=self.device), dist_reduce_fx="sum")

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU, boxes in frame `original`."""
        if self.box is None:
            return
        known = truth.num_boxes_B.nonzero()[:, 0]
        swept = torch.arange(len(truth.label_B)) if self.is_selecting else known
        if len(swept) == 0:
            return
        boxes_BQ4 = torch.stack(
            [
                self.box.sweep(map_hw, (height, width), self.input_size, self.thresholds_Q)
                for map_hw, (height, width) in zip(
                    localization.label_map_Bhw[swept], truth.size_B2[swept].tolist(), strict=True
                )
            ]
        )
        rank_B = rank_of_label(localization.classes_BT, truth.label_B)
        num_ranked = localization.classes_BT.shape[1]
        counts_KB1 = torch.stack([rank_B < 1, rank_B < num_ranked, rank_B >= 0])[..., None]
        if self.is_selecting:
            assert self.pseudo_boxes is not None
            pseudo_B14 = self.pseudo_boxes(localization.index_B, truth.size_B2)[:, None]
            iou_BQ = best_overlap(boxes_BQ4, pseudo_B14, torch.ones_like(truth.num_boxes_B))
            self.add("pseudo_hits", ((iou_BQ >= self.iou_threshold) & counts_KB1).sum(1))
            self.add("num_pseudo", len(swept))
            boxes_BQ4 = boxes_BQ4[known]
        if len(known) == 0:
            return
        iou_BQ = best_overlap(boxes_BQ4, truth.boxes_BN4[known], truth.num_boxes_B[known])
        self.add("hits", ((iou_BQ >= self.iou_threshold) & counts_KB1[:, known]).sum(1))
        self.add("num_images", len(known))

    def compute(self) -> dict[str, float]:
        """`localization_error/top1@0.3`, `…@selected`, `…@label_free`, `…@oracle`, the last three with `…/threshold`.

        The oracle is the best on the images counted, and the lowest of equally good thresholds. Nothing where no
        image had a box.
        """
        num_images = self.count("num_images")
        self.curves = {}
        self._chosen = self._label_free_choice()
        if num_images == 0:
            return {}
        error_KQ = [[error_rate(hits, num_images) for hits in hits_Q] for hits_Q in self.hits.tolist()]
        self.curves = {"threshold": self.thresholds_Q.tolist(), **dict(zip(KEYS, error_KQ, strict=True))}
        values: dict[str, float] = {}
        for key, error_Q in zip(KEYS, error_KQ, strict=True):
            error_at = dict(zip(self.thresholds_Q.tolist(), error_Q, strict=True))
            values |= {f"{key}@{threshold:g}": error_at[threshold] for threshold in self.fixed}
            carried = {"selected": self.selected, "label_free": self.label_free}
            chosen = {rule: thresholds[key] for rule, thresholds in carried.items() if key in thresholds}
            chosen["oracle"] = self.thresholds_Q.tolist()[error_Q.index(min(error_Q))]
            for rule, threshold in chosen.items():
                values |= {f"{key}@{rule}": error_at[threshold], f"{key}@{rule}/threshold": threshold}
        self._chosen |= {
            key: self.thresholds_Q.tolist()[error_Q.index(min(error_Q))]
            for key, error_Q in zip(KEYS, error_KQ, strict=True)
        } | {COST: num_images}
        return values if self.num_boxed is None else values | {COST: self.num_boxed}

    def _label_free_choice(self) -> dict[str, float]:
        """The thresholds with the most hits against boxes that nobody drew, the lowest of equally good ones."""
        if self.count("num_pseudo") == 0:
            return {}
        thresholds, hits_KQ = self.thresholds_Q.tolist(), self.pseudo_hits.tolist()
        return {
            f"{key}{LABEL_FREE}": thresholds[hits_Q.index(max(hits_Q))]
            for key, hits_Q in zip(KEYS, hits_KQ, strict=True)
        }

    def specs(self) -> dict[str, Spec]:
        rules = {f"{threshold:g}": f"threshold {threshold:g}" for threshold in self.fixed} | RULES
        specs: dict[str, Spec] = {}
        for of, title in KEYS.items():
            for rule, label in rules.items():
                key = f"{of}@{rule}"
                specs[key] = Spec(f"{title}, {label}", family="localization error", of=of, role="variant", label=label)
                if rule in RULES:
                    specs[f"{key}/threshold"] = Spec("threshold", "number", better=None, of=key, role="threshold")
        specs[COST] = Spec("validation images with boxes, which chose a threshold", "count", better=None)
        return specs

    def chosen(self) -> dict[str, float]:
        """The best threshold by key on the images counted, what `carry` takes to another split; of none, none.

        Those chosen without boxes are `…@label_free`; beside them, the number of images whose boxes chose the others.
        """
        return dict(self._chosen)

    def chosen_for(self) -> dict[str, dict[str, Any]]:
        """By key of `chosen`, the options that it depends on: the overlap that is a hit, and whose boxes are hit."""
        overlap: dict[str, Any] = {"iou_threshold": self.iou_threshold}
        without_boxes = overlap | {"label_free": self.boxed_by}
        return {**dict.fromkeys((*KEYS, COST), overlap), **{f"{key}{LABEL_FREE}": without_boxes for key in KEYS}}
