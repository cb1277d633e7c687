"""MaxBoxAcc and MaxBoxAccV2: GT-known accuracy at the one threshold that is best for the whole dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import GroundTruth, Localization, Reads, Spec
from cam_lightning.functional.max_box_accuracy import (
    MODES,
    best_overlaps,
    largest_boxes,
    levels_of,
    overlaps,
    quantise,
    wsol_truth,
)
from cam_lightning.functional.post_processing import PostProcessing, check_option, map_height_and_width, score_map
from cam_lightning.metric.counter import CounterMetric

CORNERS = ("inclusive", "half_open")


class _LevelSweep(CounterMetric):
    """Counts, for every threshold on the map of the true class, the images whose box overlaps a true one enough.

    `interval` lies between thresholds. `mode` is `components` or `wsol`, see `functional/max_box_accuracy.py`.
    `map_size` is the height and width that maps are upsampled to, by default each image's own; the other options of
    maps are those of `PostProcessing`. Maps that name no region count as `mode` says of levels with nothing above.
    `corners` says, for `wsol` alone, which corners the benchmark's metadata have for the dataset: `inclusive`
    (ILSVRC), or `half_open` (CUB, where x + w stands for the right edge). Images without a known box do not count.
    """

    needs_maps = True
    reads: Reads = "label"
    hits: Tensor

    def __init__(
        self,
        iou_thresholds: Sequence[float],
        mode: str = "components",
        interval: float = 0.001,
        map_size: Sequence[int] | None = None,
        normalise: str = "minmax",
        rectify: bool = False,
        upsample: str = "bilinear",
        corners: str = "inclusive",
        percentile: float | None = None,
    ) -> None:
        where = f"{type(self).__name__}: "
        check_option(f"{where}mode", mode, MODES)
        check_option(f"{where}corners", corners, CORNERS)
        rule = PostProcessing(upsample, rectify, normalise, where, percentile)
        rule.check_scores(where)
        if not 0 < interval <= 1 or not iou_thresholds:
            raise ValueError(
                f"{type(self).__name__} needs an interval in (0, 1] and an IoU threshold; "
                f"got {interval} and {list(iou_thresholds)}"
            )
        # Written as the benchmark writes it: i · 0.001 and i / 1000 differ in the last bit, and can cut differently.
        self.thresholds_Q = np.arange(0, 1, interval)
        super().__init__(hits=(len(iou_thresholds), len(self.thresholds_Q)), num_images=())
        self.iou_thresholds = tuple(iou_thresholds)
        self.mode = mode
        self.map_size = None if map_size is None else map_height_and_width(f"{where}map_size", map_size)
        self.corners = corners
        self.rule = rule

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU, boxes in frame `original`."""
        hits_IQ = np.zeros((len(self.iou_thresholds), len(self.thresholds_Q)), np.int64)
        for map_hw, boxes_N4, num_boxes, size_2 in zip(
            localization.label_map_Bhw, truth.boxes_BN4, truth.num_boxes_B, truth.size_B2, strict=True
        ):
            if num_boxes == 0:
                continue
            size = (int(size_2[0]), int(size_2[1]))
            map_size = self.map_size or size
            level_HW = quantise(score_map(map_hw, map_size, self.rule))
            hits_IQ += self.hits_of(level_HW, boxes_N4[:num_boxes].double().numpy(), size)
        self.add("hits", torch.from_numpy(hits_IQ))
        self.add("num_images", (truth.num_boxes_B > 0).sum())

    def hits_of(self, level_HW: np.ndarray, boxes_N4: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Whether one image is hit, bool (IoU thresholds, map thresholds); counts nothing, so threads may share it.

        `level_HW` are the map's grey levels (`quantise`), `boxes_N4` the true boxes, half-open, in an image of
        height and width `size`.
        """
        iou_L = self._overlaps(level_HW, self._truth(boxes_N4, size, (level_HW.shape[0], level_HW.shape[1])))
        iou_Q = iou_L[levels_of(self.thresholds_Q, int(level_HW.max()))]
        return iou_Q >= np.array(self.iou_thresholds)[:, None]

    def accuracy(self) -> np.ndarray:
        """The share of images that are hit, float64 (IoU thresholds, map thresholds)."""
        return self.hits.cpu().numpy() / self.count("num_images")

    def _best_specs(self, key: str, title: str) -> dict[str, Spec]:
        """Of what `_best` gives."""
        return {
            key: Spec(title, better="higher", family=title.partition(",")[0], label=title.partition(", ")[2] or title),
            f"{key}/threshold": Spec("best threshold", "number", better=None, of=key, role="threshold"),
        }

    def _best(self, key: str, accuracy_Q: np.ndarray) -> dict[str, float]:
        best = int(accuracy_Q.argmax())
        return {key: float(accuracy_Q[best]), f"{key}/threshold": float(self.thresholds_Q[best])}

    def _overlaps(self, level_HW: np.ndarray, truth_N4: np.ndarray) -> np.ndarray:
        """The IoU (256,) that counts at each level."""
        raise NotImplementedError

    def _truth(self, boxes_N4: np.ndarray, size: tuple[int, int], map_size: tuple[int, int]) -> np.ndarray:
        """Half-open boxes of the original in the map's pixels; in `wsol` as the benchmark makes them."""
        if self.mode == "wsol":
            end = 1 if self.corners == "inclusive" else 0
            return wsol_truth(boxes_N4 - np.array([0, 0, end, end]), size, map_size)
        return boxes_N4 * np.array([map_size[1] / size[1], map_size[0] / size[0]] * 2)


class MaxBoxAccuracy(_LevelSweep):
    """The share of images whose largest box hits, at the best threshold on the split that is reported: an oracle.

    Options as for `_LevelSweep`. Choe et al. 2020, section 3; clovaai/wsolevaluation, evaluation.py.
    """

    def __init__(
        self, iou_threshold: float = 0.5, further_iou_thresholds: Sequence[float] = (), **options: Any
    ) -> None:
        super().__init__([iou_threshold, *further_iou_thresholds], **options)

    def compute(self) -> dict[str, float]:
        """`max_box_accuracy` and its `…/threshold`, the lowest of equally good ones; nothing without a true box.

        Each further IoU threshold gives `max_box_accuracy/iou_0.3` and `…/iou_0.3/threshold`.
        """
        if self.count("num_images") == 0:
            return {}
        values: dict[str, float] = {}
        for key, accuracy_Q in zip(self._keys(), self.accuracy(), strict=True):
            values |= self._best(key, accuracy_Q)
        return values

    def specs(self) -> dict[str, Spec]:
        specs: dict[str, Spec] = {}
        for key, iou in zip(self._keys(), self.iou_thresholds, strict=True):
            specs |= self._best_specs(key, "MaxBoxAcc" + ("" if key == "max_box_accuracy" else f", IoU {iou:g}"))
        return specs

    def _keys(self) -> list[str]:
        """The first overlap has the plain key."""
        return ["max_box_accuracy" + (f"/iou_{iou:g}" if i else "") for i, iou in enumerate(self.iou_thresholds)]

    def _overlaps(self, level_HW: np.ndarray, truth_N4: np.ndarray) -> np.ndarray:
        return overlaps(largest_boxes(level_HW, self.mode), truth_N4)


class MaxBoxAccuracyV2(_LevelSweep):
    """As `MaxBoxAccuracy`, but any box of the map may hit; the mean over IoU thresholds, each at its best threshold.

    Options as for `_LevelSweep`. Choe et al. 2020; clovaai/wsolevaluation, evaluation.py.
    """

    def __init__(self, iou_thresholds: Sequence[float] = (0.3, 0.5, 0.7), **options: Any) -> None:
        super().__init__(iou_thresholds, **options)

    def compute(self) -> dict[str, float]:
        """`max_box_accuracy_v2`, and `…/iou_0.5` with `…/iou_0.5/threshold` each; nothing without a true box."""
        if self.count("num_images") == 0:
            return {}
        accuracy_IQ = self.accuracy()
        values = {"max_box_accuracy_v2": float(accuracy_IQ.max(1).mean())}
        for iou, accuracy_Q in zip(self.iou_thresholds, accuracy_IQ, strict=True):
            values |= self._best(f"max_box_accuracy_v2/iou_{iou:g}", accuracy_Q)
        return values

    def specs(self) -> dict[str, Spec]:
        family = "max_box_accuracy_v2"
        specs = {family: Spec("MaxBoxAccV2", better="higher", family="MaxBoxAccV2", label="mean")}
        for iou in self.iou_thresholds:
            specs |= self._best_specs(f"{family}/iou_{iou:g}", f"MaxBoxAccV2, IoU {iou:g}")
        return specs

    def _overlaps(self, level_HW: np.ndarray, truth_N4: np.ndarray) -> np.ndarray:
        return best_overlaps(level_HW, truth_N4, self.mode)
