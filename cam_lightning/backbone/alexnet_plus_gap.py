"""AlexNet*-GAP, "AlexNet+" in the released code: AlexNet-GAP with two convolutions in place of CAM_conv."""

from __future__ import annotations

from torch import nn

from cam_lightning.backbone.alexnet import Variant, alexnet_normalization, alexnet_published, alexnet_trunk
from cam_lightning.backbone.layers import cam_fc, gaussian_conv
from cam_lightning.backbone.network import GapNetwork
from cam_lightning.backbone.pooling import Pool
from cam_lightning.backbone.weights import load_weights


def alexnet_plus_gap(
    num_classes: int,
    variant: Variant = "torchvision",
    pool: Pool = "average",
    weights: str = "none",
    new_head: bool = True,
) -> GapNetwork:
    """AlexNet through conv5, pooling at stride 1, two convolutions of 512 units: an 11×11 map at 224.

    `variant`: `caffe` is the released network, whose conv5 has 384 units; `bvlc` the same with normalisation before
    pooling; `torchvision` keeps the 256 that have published weights. `weights`: `none`, `imagenet` or a file; the
    authors' own is alexnetplusCAM_imagenet.caffemodel, named in the README of the project metalbubble/CAM, for
    `caffe`. `new_head=False` insists that the weights cover every layer. Raises ValueError for an unknown variant or
    pool, and for weights that do not fit. Section 3.1 of the paper, and the authors' network definition.
    """
    conv5_units = 256 if variant == "torchvision" else 384
    trunk = alexnet_trunk(variant, conv5_units)
    trunk.add_module("pool5", nn.MaxPool2d(3, stride=1))
    trunk.add_module("conv6", gaussian_conv(conv5_units, 512, 3, padding=1, groups=2, bias_value=1.0))
    trunk.add_module("relu6", nn.ReLU(inplace=True))
    trunk.add_module("conv7", gaussian_conv(512, 512, 3, padding=1, groups=2, bias_value=1.0))
    trunk.add_module("relu7", nn.ReLU(inplace=True))
    network = GapNetwork(
        trunk,
        cam_fc(512, num_classes, std=0.01),
        pool=pool,
        dropout=0.5,
        normalization=alexnet_normalization(variant),
        min_size=63 if variant == "torchvision" else 55,
        published=alexnet_published(variant, {}, {"conv6": "trunk.conv6", "conv7": "trunk.conv7", "fc9": "classifier"}),
    )
    load_weights(network, weights, new_head)
    return network
