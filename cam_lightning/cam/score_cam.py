"""Score-CAM: units weighed by what the network says of the image behind each; no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap, map_layer
from cam_lightning.functional.differentiation import layer_activations
from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.functional.score_cam import most_varied, score_cam, unit_masks, varying


class ScoreCam(GradientMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/score_cam.py` (Wang et al. 2020).

    `layer` is its name, or None: the features that the head reads. Costs a forward for each unit and image, for all
    classes together, `batch_size` masked images at a time; units that are constant share one. `units`: of those of the
    largest variance alone, a tenth of the cost and less (Faster Score-CAM, Li et al. 2020); None: all. Raises
    ValueError for `batch_size` or `units` < 1.
    """

    def __init__(self, layer: str | None = None, units: int | None = None, batch_size: int = 16) -> None:
        super().__init__(batch_size)
        if units is not None and units < 1:
            raise ValueError(f"cam.units is how many units are asked about; got {units}")
        self.layer = layer
        self.units = units

    def protocol(self) -> dict[str, str | int | None]:
        """The rule in words that a results file can hold."""
        return {"layer": self.layer, "units": self.units}

    def maps(self, network: Any, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        (layer,) = layer_activations(network, image_B3HW, features_BKhw, [map_layer(network, self.layer)])
        with torch.no_grad(), evaluation_mode(network):
            maps = [self._map(network, *one) for one in zip(image_B3HW, layer.features_BKhw, classes_BT, strict=True)]
        return torch.stack(maps)

    def _map(self, network: Any, image_3HW: Tensor, features_Khw: Tensor, classes_T: Tensor) -> Tensor:
        if self.units is not None:
            features_Khw = features_Khw[most_varied(features_Khw, self.units)]
        varies_K = varying(features_Khw)
        varying_khw = features_Khw[varies_K]
        size = (image_3HW.shape[1], image_3HW.shape[2])
        # The first image is what all constant units let through: none.
        asked = torch.cat([torch.zeros_like(features_Khw[:1]), varying_khw])
        scores = []
        for some_khw in asked.split(self.batch_size):
            masked_k3HW = image_3HW * unit_masks(some_khw, size)
            masked_k3HW = masked_k3HW.contiguous(memory_format=torch.channels_last)
            scores.append(network(masked_k3HW).logits_BC.float()[:, classes_T])
        score_kT = torch.cat(scores)
        score_TK = score_kT[:1].T.repeat(1, len(features_Khw))
        score_TK[:, varies_K] = score_kT[1:].T
        with torch.autocast(image_3HW.device.type, enabled=False):
            return score_cam(features_Khw[None], score_TK[None])[0]
