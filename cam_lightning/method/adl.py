"""ADL: in training, features are multiplied by their own attention, or lose what it is highest at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.method.trunk_layer import layer_named, require_trunk


class AttentionDropout(nn.Module):
    """The attention-based dropout layer, as a hook behind any layer of a trunk: in evaluation it does nothing.

    It is in training or not as the network is that holds it beside its trunk, frozen as that may be.

    The attention is the mean over the units. With probability `drop_rate` the features become 0 where it is at least
    `threshold` times its own maximum (the drop mask), and are else multiplied by its sigmoid (the importance map); one
    draw for a batch. The importance map is differentiated, as in the released code. Choe and Shim 2019 (CVPR), section
    3; junsukchoe/ADL, ops.py; clovaai/wsolevaluation, method/adl.py.
    """

    def __init__(self, drop_rate: float, threshold: float) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.threshold = threshold

    def forward(self, layer: nn.Module, _: Any, features_BKhw: Tensor) -> Tensor | None:
        # Not the layer's own mode: a frozen one is in eval mode always (`method.freeze`), and this is no part of it.
        if not self.training:
            return None
        attention_B1hw = features_BKhw.float().mean(1, keepdim=True)
        if float(torch.rand(())) < self.drop_rate:
            selected_B1hw = (attention_B1hw < self.threshold * attention_B1hw.amax((2, 3), keepdim=True)).float()
        else:
            selected_B1hw = attention_B1hw.sigmoid()
        return features_BKhw * selected_B1hw.to(features_BKhw.dtype)


def with_attention_dropout(
    network: TrunkNetwork,
    layers: Sequence[str | int] | None = None,
    drop_rate: float = 0.75,
    threshold: float = 0.8,
) -> TrunkNetwork:
    """The network with the layer behind each of its trunk's `layers`, by name; None: behind the trunk.

    No parameter is added and none renamed. `drop_rate` is 0.75 in the paper and both codes; `threshold` 0.8 for VGG-GAP
    and 0.9 for the paper's ResNet50-SE, in the benchmark searched per network and data. Raises ValueError for a network
    without a trunk, a layer that it has not, and shares outside [0, 1].
    """
    require_trunk(network, "adl")
    for option, value in {"drop_rate": drop_rate, "threshold": threshold}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"method.network_part.{option} is a share in [0, 1]; got {value}")
    dropout = AttentionDropout(drop_rate, threshold)
    network.attention_dropout = dropout
    for name in [""] if layers is None else map(str, layers):
        layer_named(network.trunk, name, "layers").register_forward_hook(dropout)
    return network
