"""TS-CAM: a class's own map, times what the class token attends to in all blocks."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.gradient_map import GradientMap
from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.functional.attention import attention, on_the_grid, require_class_token


class TsCam(GradientMap):
    """Maps (B, T, h, w), float32: the semantic map of a class × the attention, cell by cell, raw (Gao et al. 2021).

    The semantic map is the network's class activation map: of `method=ts_cam` a 3×3 convolution's, else the linear
    layer's. The attention is the class token's to every patch, the mean over heads, summed over blocks, as released
    (vasgaowei/TS-CAM, lib/models/deit.py). Costs a forward. Raises NoClassMapError for a network without a class
    activation map, and ValueError for one without such attention or without a class token.
    """

    def __init__(self, batch_size: int = 8) -> None:
        super().__init__(batch_size)

    def unit(self, network: Any) -> str:
        """What a raw value is, in words."""
        return f"{getattr(network, 'map_unit', '') or 'class activation'}, times attention"

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        semantic_BThw = ClassActivationMap()(network, image_B3HW, output, classes_BT)
        attention_B1hw = super().__call__(network, image_B3HW, output, classes_BT)
        return semantic_BThw * attention_B1hw

    def maps(self, network: Any, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        """The attention alone, (B, 1, h, w)."""
        blocks, layout = attention(network, image_B3HW)
        require_class_token(layout)
        total_BN = sum(block[:, :, 0].mean(1) for block in blocks)
        return on_the_grid(total_BN, layout)[:, None]  # type: ignore[arg-type]
