"""Average drop and increase in confidence: what the network says of the pixels that a map leaves."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.contracts import GroundTruth, Localization, Network, Spec
from cam_lightning.evaluator.map_evaluator import Asked, MapEvaluator
from cam_lightning.functional.average_drop import drop, faded, has_increased, score_maps
from cam_lightning.functional.post_processing import PostProcessing


class AverageDrop(MapEvaluator):
    """The mean share of a class's probability that is lost where the image is multiplied by the map, lower is better.

    And the share of images whose probability rises, higher is better. The map is upsampled, rectified and normalised to
    0..1 (`functional/average_drop.py`); of one that names no region nothing is left of the image. Chattopadhay et al.
    2018 (Grad-CAM++), section 5.1. A map that is 1 everywhere loses nothing: read it beside complexity (`adcc`).

    Costs one forward an image, of the images of a batch together, so that last bits follow the batches as they do in
    every forward. Raises ValueError for options other than these.
    """

    def __init__(
        self,
        of: str = "predicted",
        rectify: bool = True,
        normalise: str = "max",
        every: int = 1,
        batch_size: int = 32,
    ) -> None:
        super().__init__("average_drop", ("average_drop", "increase_in_confidence"), of, every, batch_size)
        self.rule = PostProcessing(rectify=rectify, normalise=normalise, where="evaluator.average_drop.")
        self.rule.check_scores("evaluator.average_drop.")

    def values(self, network: Network, asked: Asked, localization: Localization, truth: GroundTruth) -> Tensor:
        H, W = asked.image_S3HW.shape[2:]
        image_S3HW = faded(asked.image_S3HW, score_maps(asked.map_Shw, (H, W), self.rule))
        after_S = self.probabilities(network, image_S3HW, asked.class_S)
        before_S = asked.probability_S
        return torch.stack([drop(before_S, after_S), has_increased(before_S, after_S).double()], dim=1)

    def specs(self) -> dict[str, Spec]:
        return {
            "average_drop": Spec(
                "average drop of the probability", "share", "lower", family="average drop", label="drop"
            ),
            "increase_in_confidence": Spec(
                "images whose probability rises", "share", "higher", family="average drop", label="increase"
            ),
        }
