"""Localization errors at every threshold, and at thresholds chosen in other ways than the run's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import BoxGenerator, GroundTruth, Localization, Spec, ThresholdSweep
from cam_lightning.functional.overlap import best_overlap
from cam_lightning.functional.ranking import rank_of_label
from cam_lightning.functional.threshold_curve import check_thresholds
from cam_lightning.metric.counter import CounterMetric, error_rate

KEYS = {
    "localization_error/top1": "localization error, top-1",
    "localization_error/top5": "localization error, top-5",
    "gt_known_error": "GT-known error",
}
"""The errors that are swept, and their titles."""
_RULES = {"selected": "threshold selected in validation", "oracle": "best threshold of this split (oracle)"}


class ThresholdCurve(CounterMetric):
    """GT-known and top-1, top-5 localization errors of the run's own rule at many thresholds, from one sweep per map.

    At a threshold t every error is what the run gives with `box.threshold=t`. A guess counts only where its class is
    the label, so the label's map alone is swept. Thresholds lie `interval` apart from 0 to below 1, where `fixed` has
    them, and at the box's own. `input_size` is the network's, an int or height and width; only boxes of frame `input`
    need it. Images without a known box are not counted; a box generator without a threshold has no curve, and no key.
    """

    needs_maps = True
    hits: Tensor

    def __init__(
        self,
        box: BoxGenerator,
        fixed: Sequence[float] = (0.3,),
        interval: float = 0.01,
        iou_threshold: float = 0.5,
        input_size: int | Sequence[int] = 224,
    ) -> None:
        if not 0 < interval <= 1 or not all(0 <= threshold < 1 for threshold in fixed):
            raise ValueError(
                f"metric.threshold_curve.interval lies in (0, 1] and its fixed thresholds in [0, 1); "
                f"got {interval} and {list(fixed)}"
            )
        # Rounded, so that the grid has the very number that a user means by 0.07.
        grid = np.round(np.arange(0, 1, interval), 12).tolist()
        super().__init__(num_images=())
        self.box = box if isinstance(box, ThresholdSweep) else None
        # So that the run's own error is on the curve, and never below its oracle.
        threshold = getattr(box, "threshold", None)
        own = [threshold] if threshold is not None and 0 <= threshold < 1 else []
        self._sweep_at([*grid, *fixed, *own])
        self.fixed = tuple(fixed)
        self.iou_threshold = iou_threshold
        height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
        self.input_size = (int(height), int(width))
        self.selected: dict[str, float] = {}
        self.curves: dict[str, list[float]] = {}
        """Of the last `compute`: `threshold`, and the error under each key."""

    def carry(self, thresholds: Mapping[str, float]) -> None:
        """Reports these thresholds by key, chosen on another split, as `…@selected`; before any image is counted."""
        if not set(thresholds.values()) <= set(self.thresholds_Q.tolist()):
            self._sweep_at([*self.thresholds_Q.tolist(), *thresholds.values()])
        self.selected = dict(thresholds)

    def _sweep_at(self, thresholds: Sequence[float]) -> None:
        """Sets what is swept, with counters of its length."""
        self.thresholds_Q = np.unique(np.asarray(thresholds, np.float64))
        check_thresholds(self.thresholds_Q)
        shape = (len(KEYS), len(self.thresholds_Q))
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64, device=self.device), dist_reduce_fx="sum")

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU, boxes in frame `original`."""
        if self.box is None:
            return
        known = truth.num_boxes_B.nonzero()[:, 0]
        if len(known) == 0:
            return
        boxes_BQ4 = torch.stack(
            [
                self.box.sweep(map_hw, (height, width), self.input_size, self.thresholds_Q)
                for map_hw, (height, width) in zip(
                    localization.label_map_Bhw[known], truth.size_B2[known].tolist(), strict=True
                )
            ]
        )
        iou_BQ = best_overlap(boxes_BQ4, truth.boxes_BN4[known], truth.num_boxes_B[known])
        rank_B = rank_of_label(localization.classes_BT, truth.label_B)[known]
        num_ranked = localization.classes_BT.shape[1]
        counts_KB1 = torch.stack([rank_B < 1, rank_B < num_ranked, rank_B >= 0])[..., None]
        self.add("hits", ((iou_BQ >= self.iou_threshold) & counts_KB1).sum(1))
        self.add("num_images", len(known))

    def compute(self) -> dict[str, float]:
        """`localization_error/top1@0.3`, `…@selected`, `…@oracle` with its `…@oracle/threshold`; so of every key.

        The oracle is the best on the images counted, and the lowest of equally good thresholds. Nothing where no
        image had a box.
        """
        num_images = self.count("num_images")
        self.curves = {}
        if num_images == 0:
            return {}
        error_KQ = [[error_rate(hits, num_images) for hits in hits_Q] for hits_Q in self.hits.tolist()]
        self.curves = {"threshold": self.thresholds_Q.tolist(), **dict(zip(KEYS, error_KQ, strict=True))}
        values: dict[str, float] = {}
        for key, error_Q in zip(KEYS, error_KQ, strict=True):
            error_at = dict(zip(self.thresholds_Q.tolist(), error_Q, strict=True))
            values |= {f"{key}@{threshold:g}": error_at[threshold] for threshold in self.fixed}
            chosen = {"oracle": self.thresholds_Q.tolist()[error_Q.index(min(error_Q))]}
            if key in self.selected:
                chosen["selected"] = self.selected[key]
            for rule, threshold in chosen.items():
                values |= {f"{key}@{rule}": error_at[threshold], f"{key}@{rule}/threshold": threshold}
        return values

    def specs(self) -> dict[str, Spec]:
        rules = {f"{threshold:g}": f"threshold {threshold:g}" for threshold in self.fixed} | _RULES
        specs: dict[str, Spec] = {}
        for of, title in KEYS.items():
            for rule, label in rules.items():
                if rule == "selected" and of not in self.selected:
                    continue
                key = f"{of}@{rule}"
                specs[key] = Spec(f"{title}, {label}", family="localization error", of=of, role="variant", label=label)
                if rule in _RULES:
                    specs[f"{key}/threshold"] = Spec("threshold", "number", better=None, of=key, role="threshold")
        return specs

    def chosen(self) -> dict[str, float]:
        """The best threshold by key on the images counted, what `carry` takes to another split; of none, none."""
        return {
            key: self.curves["threshold"][self.curves[key].index(min(self.curves[key]))] for key in KEYS if self.curves
        }
