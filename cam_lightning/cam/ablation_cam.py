"""Ablation-CAM: units weighed by what the class's score loses without each; no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap, map_layer
from cam_lightning.functional.ablation_cam import ablation_cam
from cam_lightning.functional.differentiation import layer_activations, layer_replaced
from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.functional.token_map import token_layout


class AblationCam(GradientMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/ablation_cam.py` (Desai and Ramaswamy 2020).

    `layer` is its name, which costs a forward for each unit and image; None: the features that the head reads, for
    which the head alone runs again. All classes are asked about together, `batch_size` units at a time. Raises
    ValueError for `batch_size` < 1.
    """

    def __init__(self, layer: str | None = None, batch_size: int = 32) -> None:
        super().__init__(batch_size)
        self.layer = layer

    def protocol(self) -> dict[str, str | None]:
        """The rule in words that a results file can hold."""
        return {"layer": self.layer}

    def maps(self, network: Any, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        (layer,) = layer_activations(network, image_B3HW, features_BKhw, [map_layer(network, self.layer)])
        with torch.no_grad(), evaluation_mode(network):
            maps = [self._map(network, *one) for one in zip(image_B3HW, layer.features_BKhw, classes_BT, strict=True)]
        return torch.stack(maps)

    def _map(self, network: Any, image_3HW: Tensor, features_Khw: Tensor, classes_T: Tensor) -> Tensor:
        K = len(features_Khw)
        scores = [self._scores(network, image_3HW, features_Khw[None])]
        for units in torch.arange(K, device=features_Khw.device).split(self.batch_size):
            ablated_khw = features_Khw.repeat(len(units), 1, 1, 1)
            ablated_khw[torch.arange(len(units)), units] = 0
            scores.append(self._scores(network, image_3HW, ablated_khw))
        score_KT = torch.cat(scores)[:, classes_T]
        with torch.autocast(image_3HW.device.type, enabled=False):
            return ablation_cam(features_Khw[None], score_KT[:1], score_KT[1:].T[None])[0]

    def _scores(self, network: Any, image_3HW: Tensor, features_kKhw: Tensor) -> Tensor:
        """Logits (k, C) of one image with the layer's activations replaced."""
        name = map_layer(network, self.layer)
        if name is None:
            return network.forward_head(features_kKhw).logits_BC.float()
        image_k3HW = image_3HW.expand(len(features_kKhw), -1, -1, -1)
        with layer_replaced(network, name, features_kKhw, token_layout(network, image_k3HW)):
            # Not `network(…)`: compiled, it would run without the hook that replaces, and no unit would count.
            return network.forward(image_k3HW.contiguous(memory_format=torch.channels_last)).logits_BC.float()
