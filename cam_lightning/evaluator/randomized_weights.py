"""The sanity check of maps: those of the same network with random weights. One that stays explains nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cam_lightning.contracts import BoxGenerator, GroundTruth, Localization, Network, Spec
from cam_lightning.evaluator.map_evaluator import Asked, MapEvaluator
from cam_lightning.functional.average_drop import score_maps
from cam_lightning.functional.map_similarity import rank_correlation, structural_similarity
from cam_lightning.functional.overlap import best_overlap
from cam_lightning.functional.post_processing import PostProcessing
from cam_lightning.functional.random_weights import randomised
from cam_lightning.metric.counter import error_rate

_COMPARED = PostProcessing(normalise="minmax")


class RandomizedWeights(MapEvaluator):
    """How alike a map is to the map, of the same class, that the same network makes with random weights.

    Spearman's rank correlation of the raw maps' cells, and the structural similarity of the maps upsampled to the input
    and normalised from minimum to maximum; for both, lower is better. And the GT-known error that the true class's map
    has with random weights, whose boxes are made by `box`: a localization that is no better has learned nothing.
    Adebayo et al. 2018, section 3, all weights drawn at once (`functional/random_weights.py`), once for `seed`.

    Costs one forward an image and two more maps; last bits follow the batches. Raises ValueError for options other than
    these, and where it is not told what makes the maps (`cam`).
    """

    def __init__(
        self,
        box: BoxGenerator | None = None,
        iou_threshold: float = 0.5,
        seed: int = 0,
        of: str = "predicted",
        every: int = 1,
        batch_size: int = 32,
    ) -> None:
        name = "randomized_weights"
        super().__init__(name, ("rank_correlation", "structural_similarity"), of, every, batch_size)
        for counter in ("hits", "num_boxed"):
            self.add_state(counter, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.box = box
        self.iou_threshold = iou_threshold
        self.seed = seed
        # In a tuple: as a module of its own it would be a part of every checkpoint.
        self._twin: tuple[Any, ...] = ()

    def reset(self) -> None:
        """Forgets the network with random weights too: the next one may be another."""
        super().reset()
        self._twin = ()

    def values(self, network: Network, asked: Asked, localization: Localization, truth: GroundTruth) -> Tensor:
        if self.cam is None:
            raise ValueError("evaluator.randomized_weights makes maps again, and was not told by what: set its cam")
        if not self._twin:
            self._twin = (randomised(network, self.seed),)
        wanted_S2 = torch.stack([asked.class_S, truth.label_B], dim=1)
        maps = [
            self._maps(image_S3HW, some_S2.to(image_S3HW.device))
            for image_S3HW, some_S2 in zip(
                asked.image_S3HW.split(self.batch_size), wanted_S2.split(self.batch_size), strict=True
            )
        ]
        map_S2hw = torch.cat(maps)
        H, W = asked.image_S3HW.shape[2:]
        self._count_hits(map_S2hw[:, 1:], truth, (H, W))
        correlation_S = rank_correlation(asked.map_Shw, map_S2hw[:, 0])
        score_SHW, random_SHW = (score_maps(each, (H, W), _COMPARED) for each in (asked.map_Shw, map_S2hw[:, 0]))
        return torch.stack([correlation_S, structural_similarity(score_SHW, random_SHW)], dim=1)

    def _maps(self, image_S3HW: Tensor, wanted_S2: Tensor) -> Tensor:
        (twin,) = self._twin
        assert self.cam is not None
        return self.cam(twin, image_S3HW, twin(image_S3HW), wanted_S2).float().cpu()

    def _count_hits(self, map_S1hw: Tensor, truth: GroundTruth, input_size: tuple[int, int]) -> None:
        if self.box is None:
            return
        boxes_SP4 = self.box(map_S1hw, truth.size_B2, input_size).boxes_BP4
        iou_S = best_overlap(boxes_SP4[:, :1], truth.boxes_BN4, truth.num_boxes_B)[:, 0]
        has_box_S = truth.num_boxes_B > 0
        self.add("hits", ((iou_S >= self.iou_threshold) & has_box_S).sum())
        self.add("num_boxed", has_box_S.sum())

    def compute(self) -> dict[str, float]:
        """Means below `randomized_weights/`, and the error with random weights where an image had a box."""
        found = {f"{self.name}/{name}": mean for name, mean in super().compute().items()}
        if self.count("num_boxed"):
            error = error_rate(self.count("hits"), self.count("num_boxed"))
            found[f"{self.name}/gt_known_error"] = error
        return found

    def specs(self) -> dict[str, Spec]:
        family = "random weights"
        return {
            "randomized_weights/rank_correlation": Spec(
                "rank correlation with the map of random weights", "number", "lower", family, label="rank correlation"
            ),
            "randomized_weights/structural_similarity": Spec(
                "structural similarity with the map of random weights", "number", "lower", family, label="SSIM"
            ),
            "randomized_weights/gt_known_error": Spec(
                "GT-known error with random weights", better=None, family=family, label="GT-known error"
            ),
        }
