"""ResNet-50 with a finer last map (He et al. 2016; the strides of the WSOL benchmark); beyond the paper."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Literal

from torch import nn
from torchvision.models import ResNet50_Weights, resnet50

from cam_lightning.backbone.layers import cam_fc
from cam_lightning.backbone.network import IMAGENET, GapNetwork, PublishedWeights
from cam_lightning.backbone.pooling import Pool
from cam_lightning.backbone.weights import load_weights, read_torchvision

Stride = Literal[8, 16, 32]


def resnet50_gap(
    num_classes: int,
    stride: Stride = 16,
    pool: Pool = "average",
    weights: str = "none",
    new_head: bool = True,
) -> GapNetwork:
    """ResNet-50 with pixels per cell `stride`: maps of 2048 units, 14×14 at 224 (28×28 for 8, 7×7 for 32).

    The last stages keep their map's size in place of halving it, without dilation, so that published
    weights fit. `weights`: `none`, `imagenet` (the first version, as in the WSOL literature) or a file.
    `new_head=False` insists that the weights cover every layer. Raises ValueError for another stride or
    pool, and for weights that do not fit.
    """
    if stride not in (8, 16, 32):
        raise ValueError(f"stride is 8, 16 or 32 pixels per cell, not {stride}")
    layers = OrderedDict(resnet50(weights=None, num_classes=1).named_children())
    del layers["avgpool"], layers["fc"]
    for name in {32: (), 16: ("layer4",), 8: ("layer3", "layer4")}[stride]:
        block = layers[name].get_submodule("0")
        for convolution in (block.conv2, block.get_submodule("downsample.0")):
            convolution.stride = (1, 1)
    network = GapNetwork(
        nn.Sequential(layers),
        cam_fc(2048, num_classes),
        pool=pool,
        normalization=IMAGENET,
        min_size=1,
        published=PublishedWeights(
            {"": "trunk.", "fc.": "classifier."},
            partial(read_torchvision, ResNet50_Weights.IMAGENET1K_V1),
        ),
    )
    load_weights(network, weights, new_head)
    return network
