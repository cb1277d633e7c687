"""ROAD: remove and debias. Does the class go with the pixels that its map calls relevant, and stay without the rest?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cam_lightning.contracts import GroundTruth, Localization, Network, Spec
from cam_lightning.evaluator.map_evaluator import Asked, MapEvaluator
from cam_lightning.functional.deletion_insertion import importance_rank
from cam_lightning.functional.road import removals, removed


class Road(MapEvaluator):
    """The mean probability of a class while shares of the pixels are gone: the most, and the least relevant first.

    Removed pixels are filled from their surroundings with a little noise (`functional/road.py`), so that the network
    sees no hole whose shape would tell it the class. `combined` is (least first − most first) / 2: 0 for a map that
    knows nothing, higher is better. Rong et al. 2022; the mean over `percentages` and `combined` as pytorch-grad-cam
    has them. Noise is of the network's normalised input, and drawn from `seed` and the image's position.

    Costs two forwards an image for each of the percentages, of one image together, and as many systems of equations on
    the CPU (0.1 to 0.5 s each at 224×224, on all cores at once): with every=10 it is quick enough for a first look. No
    split over batches or ranks changes a bit. Raises ValueError for options other than these.
    """

    def __init__(
        self,
        percentages: Sequence[float] = (10, 20, 30, 40, 50, 60, 70, 80, 90),
        noise: float = 0.01,
        of: str = "predicted",
        every: int = 1,
        seed: int = 0,
        batch_size: int = 32,
    ) -> None:
        if not percentages or not all(0 < percentage < 100 for percentage in percentages):
            raise ValueError(f"evaluator.road.percentages lie between 0 and 100, and there is one; got {percentages}")
        if noise < 0:
            raise ValueError(f"evaluator.road.noise is a standard deviation, not below 0; got {noise}")
        super().__init__("road", ("most_relevant_first", "least_relevant_first"), of, every, batch_size)
        self.shares = [percentage / 100 for percentage in percentages]
        self.noise = noise
        self.seed = seed

    def values(self, network: Network, asked: Asked, localization: Localization, truth: GroundTruth) -> Tensor:
        return torch.stack([self._of_one(network, asked, s) for s in range(len(asked.class_S))])

    def _of_one(self, network: Network, asked: Asked, s: int) -> Tensor:
        image_3HW = asked.image_S3HW[s]
        rank_HW = importance_rank(asked.map_Shw[s], (image_3HW.shape[1], image_3HW.shape[2]))
        is_removed_SHW = torch.cat(removals(rank_HW, self.shares))
        inputs_S3HW = removed(image_3HW, is_removed_SHW, self.noise, (self.seed, int(asked.index_S[s])))
        class_S = asked.class_S[s].expand(len(inputs_S3HW))
        probability_S = self.probabilities(network, inputs_S3HW.to(image_3HW), class_S)
        return probability_S.double().view(2, -1).mean(1)

    def compute(self) -> dict[str, float]:
        """Below `road/`: `combined` and the means of `values_of`; nothing where there was no image."""
        means = super().compute()
        if not means:
            return {}
        combined = (means["least_relevant_first"] - means["most_relevant_first"]) / 2
        return {"road/combined": combined, **{f"road/{name}": mean for name, mean in means.items()}}

    def specs(self) -> dict[str, Spec]:
        return {
            "road/combined": Spec("ROAD, combined", "number", "higher", family="ROAD", label="combined"),
            "road/most_relevant_first": Spec(
                "ROAD, most relevant first", "number", "lower", family="ROAD", label="most relevant first"
            ),
            "road/least_relevant_first": Spec(
                "ROAD, least relevant first", "number", "higher", family="ROAD", label="least relevant first"
            ),
        }
