"""SqueezeNet (Iandola et al. 2016), whose last maps are class maps already; beyond the paper."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn
from torchvision.models import SqueezeNet, SqueezeNet1_0_Weights, SqueezeNet1_1_Weights

from cam_lightning.backbone.layers import class_conv
from cam_lightning.backbone.network import IMAGENET, ClassMapNetwork, PublishedWeights
from cam_lightning.backbone.weights import load_weights, read_torchvision

Variant = Literal["squeezenet1_0", "squeezenet1_1"]
_WEIGHTS = {
    "squeezenet1_0": SqueezeNet1_0_Weights.IMAGENET1K_V1,
    "squeezenet1_1": SqueezeNet1_1_Weights.IMAGENET1K_V1,
}
_MIN_SIZE = {"squeezenet1_0": 21, "squeezenet1_1": 17}


def squeezenet_gap(
    num_classes: int,
    variant: Variant = "squeezenet1_0",
    weights: str = "none",
    new_head: bool = True,
) -> ClassMapNetwork:
    """torchvision's SqueezeNet: 13×13 class maps at 224, which are pooled after a ReLU.

    `weights`: `none`, `imagenet` or a file. `new_head=False` insists that the weights cover every layer.
    Raises ValueError for an unknown variant and for weights that do not fit.
    """
    if variant not in _WEIGHTS:
        raise ValueError(f"SqueezeNet has the variants {', '.join(_WEIGHTS)}, not {variant!r}")
    features = SqueezeNet(variant.removeprefix("squeezenet"), num_classes=1).features
    network = ClassMapNetwork(
        nn.Sequential(*features, nn.Dropout(0.5)),
        class_conv(512, num_classes),
        normalization=IMAGENET,
        min_size=_MIN_SIZE[variant],
        published=PublishedWeights(
            {"features.": "trunk.", "classifier.1.": "class_conv."},
            partial(read_torchvision, _WEIGHTS[variant]),
        ),
    )
    load_weights(network, weights, new_head)
    return network
