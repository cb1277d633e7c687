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
    classes together, at most `batch_size` masked images at a time; units that are constant, which let nothing through,
    share one. `units`: of those of the largest variance alone, a tenth of the cost and less (Faster Score-CAM, Li et
    al. 2020); None: all. Raises ValueError for `batch_size` or `units` < 1.
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
        chosen = [self._chosen(features_Khw) for features_Khw in layer.features_BKhw]
        # What is masked is laid as its image: as evaluation has it.
        image_B3HW = image_B3HW.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), evaluation_mode(network):
            nothing_C = None
            if not all(varying(features_Khw).all() for features_Khw in chosen):
                # What every constant unit lets through, of whatever image.
                nothing_C = network(torch.zeros_like(image_B3HW[:1])).logits_BC[0].float()
            ways = zip(image_B3HW, chosen, classes_BT, strict=True)
            return torch.stack([self._map(network, *one, nothing_C) for one in ways])

    def _chosen(self, features_Khw: Tensor) -> Tensor:
        return features_Khw if self.units is None else features_Khw[most_varied(features_Khw, self.units)]

    def _map(
        self, network: Any, image_3HW: Tensor, features_Khw: Tensor, classes_T: Tensor, nothing_C: Tensor | None
    ) -> Tensor:
        varies_K = varying(features_Khw)
        varying_khw = features_Khw[varies_K]
        score_KT = features_Khw.new_zeros(len(features_Khw), len(classes_T), dtype=torch.float32)
        if nothing_C is not None:
            score_KT += nothing_C[classes_T]
        if len(varying_khw) > 0:
            # Of one size, as far as they can be: a last batch of an image or two is dear.
            batches = varying_khw.tensor_split(-(-len(varying_khw) // self.batch_size))
            score_KT[varies_K] = torch.cat([self._scores(network, image_3HW, some, classes_T) for some in batches])
        with torch.autocast(image_3HW.device.type, enabled=False):
            return score_cam(features_Khw[None], score_KT.T[None])[0]

    def _scores(self, network: Any, image_3HW: Tensor, features_khw: Tensor, classes_T: Tensor) -> Tensor:
        mask_k1HW = unit_masks(features_khw, (image_3HW.shape[1], image_3HW.shape[2]))
        return network(image_3HW * mask_k1HW).logits_BC.float()[:, classes_T]
