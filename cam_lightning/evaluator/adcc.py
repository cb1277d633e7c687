"""ADCC: a map is good if it keeps the class's probability, keeps little of the image, and is found again in that."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.contracts import GroundTruth, Localization, Network, Spec
from cam_lightning.evaluator.map_evaluator import Asked, MapEvaluator
from cam_lightning.functional.adcc import coherency, complexity, harmonic_mean
from cam_lightning.functional.average_drop import drop, faded, score_maps
from cam_lightning.functional.post_processing import PostProcessing
from cam_lightning.functional.probability import class_probabilities

_TITLES = {
    "adcc": "ADCC: drop, coherency and complexity",
    "coherency": "coherency of the map",
    "complexity": "complexity of the map",
    "drop": "average drop of the probability, in ADCC",
}


class Adcc(MapEvaluator):
    """The mean of the images' harmonic means of coherency, 1 − complexity and 1 − average drop; higher is better.

    Coherency: how alike the map is to the map, of the same class, of the image times the map; complexity: the share of
    the image that the map keeps; average drop as in `average_drop`. Poppi et al. 2021, section 3; maps are upsampled
    and normalised from minimum to maximum, as there, unless `rectify` and `normalise` say otherwise.

    Costs one forward an image and one more map; last bits follow the batches. Raises ValueError for options other than
    these, and where it is not told what makes the maps (`cam`).
    """

    def __init__(
        self,
        of: str = "predicted",
        rectify: bool = False,
        normalise: str = "minmax",
        every: int = 1,
        batch_size: int = 32,
    ) -> None:
        super().__init__("adcc", tuple(_TITLES), of, every, batch_size)
        self.rule = PostProcessing(rectify=rectify, normalise=normalise, where="evaluator.adcc.")
        self.rule.check_scores("evaluator.adcc.")

    def values(self, network: Network, asked: Asked, localization: Localization, truth: GroundTruth) -> Tensor:
        if self.cam is None:
            raise ValueError("evaluator.adcc makes maps again, and was not told by what: set its cam")
        found = []
        for some in zip(*(each.split(self.batch_size) for each in asked), strict=True):
            found.append(self._values(network, Asked(*some)))
        return torch.cat(found)

    def _values(self, network: Network, asked: Asked) -> Tensor:
        assert self.cam is not None
        H, W = asked.image_S3HW.shape[2:]
        score_SHW = score_maps(asked.map_Shw, (H, W), self.rule)
        image_S3HW = faded(asked.image_S3HW, score_SHW)
        output = network(image_S3HW)
        wanted_S1 = asked.class_S[:, None].to(image_S3HW.device)
        after_S = class_probabilities(network, output.logits_BC).gather(1, wanted_S1)[:, 0].cpu()
        map_Shw = self.cam(network, image_S3HW, output, wanted_S1)[:, 0].float().cpu()
        coherency_S = coherency(score_SHW, score_maps(map_Shw, (H, W), self.rule))
        complexity_S, drop_S = complexity(score_SHW), drop(asked.probability_S, after_S)
        return torch.stack([harmonic_mean(coherency_S, complexity_S, drop_S), coherency_S, complexity_S, drop_S], dim=1)

    def compute(self) -> dict[str, float]:
        """`adcc`, and below it the means of what it is made of: `adcc/coherency`, `adcc/complexity`, `adcc/drop`."""
        return {"adcc" if name == "adcc" else f"adcc/{name}": mean for name, mean in super().compute().items()}

    def specs(self) -> dict[str, Spec]:
        title = {"adcc" if name == "adcc" else f"adcc/{name}": title for name, title in _TITLES.items()}
        return {
            key: Spec(
                title[key],
                "number",
                "lower" if key in ("adcc/complexity", "adcc/drop") else "higher",
                family="ADCC",
                label=key.replace("adcc/", "") if "/" in key else "ADCC",
            )
            for key in title
        }
