"""Deletion and insertion: whether a map is faithful to the network, asked of the network itself."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cam_lightning.contracts import GroundTruth, Localization, Network, Spec
from cam_lightning.evaluator.map_evaluator import Asked, MapEvaluator
from cam_lightning.functional.deletion_insertion import area_under_curve, blurred, check_blur, importance_rank, replaced
from cam_lightning.functional.probability import class_probabilities

_BETTER: dict[str, Literal["lower", "higher"]] = {"deletion": "lower", "insertion": "higher"}


class DeletionInsertion(MapEvaluator):
    """The mean area under a class's probability, while its map's most important pixels go (deletion) or come.

    Deletion takes pixels away, the most important first, and puts the mean colour there, zero after normalisation;
    insertion puts them into the blurred image (`functional/deletion_insertion.py`). Both in `steps` equal steps, the
    area over the share of pixels by the trapezoid rule. A faithful map has a low deletion and a high insertion.

    `of`: `predicted`, the best class of the whole image and its map, or `label`, the true one's. Only images at
    every `every`-th position of the split are scored. Costs 2·`steps` + 1 forwards an image, at most `batch_size` at
    once and never of two images together, so that the result does not depend on how images are batched. Petsiuk et
    al. 2018; where the paper leaves it open, substitutes, kernel and steps are those of its released code
    (`evaluation.py`, `Evaluation.ipynb`: 224 steps for single images, 28 for many). Other than there, the steps are
    equal in pixels where their number does not divide them, and equal values go row by row.

    Raises ValueError for options other than these.
    """

    def __init__(
        self,
        steps: int = 28,
        of: str = "predicted",
        every: int = 1,
        batch_size: int = 32,
        blur_size: int = 11,
        blur_sigma: float = 5.0,
    ) -> None:
        super().__init__("deletion_insertion", tuple(_BETTER), of, every, batch_size)
        if steps < 1:
            raise ValueError(f"evaluator.deletion_insertion.steps is at least 1; got {steps}")
        check_blur(blur_size, blur_sigma)
        self.steps = steps
        self.blur_size = blur_size
        self.blur_sigma = blur_sigma

    def values(self, network: Network, asked: Asked, localization: Localization, truth: GroundTruth) -> Tensor:
        of_each = zip(asked.image_S3HW, asked.map_Shw, asked.class_S.tolist(), strict=True)
        return torch.tensor([self._areas(network, *one) for one in of_each], dtype=torch.float64)

    def _areas(self, network: Network, image_3HW: Tensor, map_hw: Tensor, label: int) -> tuple[float, float]:
        """Deletion and insertion of one image."""
        height, width = image_3HW.shape[1:]
        rank_HW = importance_rank(map_hw, (height, width)).to(image_3HW.device)
        count_S = torch.arange(self.steps + 1) * (height * width) // self.steps
        # The last of insertion is the first of deletion: the whole image.
        is_insertion = torch.tensor([False] * (self.steps + 1) + [True] * self.steps)
        counts = torch.cat([count_S, count_S[:-1]])
        blurred_3HW = blurred(image_3HW[None], self.blur_size, self.blur_sigma)[0]
        from_23HW = torch.stack([image_3HW, blurred_3HW])
        to_23HW = torch.stack([torch.zeros_like(image_3HW), image_3HW])
        probabilities = []
        for some, count in zip(is_insertion.split(self.batch_size), counts.split(self.batch_size), strict=True):
            kind, count = some.long().to(image_3HW.device), count.to(image_3HW.device)
            inputs_S3HW = replaced(from_23HW[kind], to_23HW[kind], rank_HW, count)
            probabilities.append(class_probabilities(network, network(inputs_S3HW).logits_BC)[:, label].cpu())
        deletion_S, insertion_S = torch.cat(probabilities).split([self.steps + 1, self.steps])
        share_S = count_S.double() / (height * width)
        return (
            area_under_curve(deletion_S, share_S),
            area_under_curve(torch.cat([insertion_S, deletion_S[:1]]), share_S),
        )

    def specs(self) -> dict[str, Spec]:
        return {
            name: Spec(
                f"{name}, area under the probability", "number", better=better, family="faithfulness", label=name
            )
            for name, better in _BETTER.items()
        }
