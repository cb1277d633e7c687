"""VGGnet-GAP: VGG-16 through conv5_3, then the paper's convolution, pooling and linear layer."""

from __future__ import annotations

from torch import nn

from cam_lightning.backbone.layers import cam_conv, cam_fc
from cam_lightning.backbone.network import GapNetwork
from cam_lightning.backbone.pooling import Pool
from cam_lightning.backbone.vgg16 import Variant, vgg16_normalization, vgg16_published, vgg16_trunk
from cam_lightning.backbone.weights import load_weights


def vgg16_gap(
    num_classes: int,
    variant: Variant = "torchvision",
    pool: Pool = "average",
    weights: str = "none",
    new_head: bool = True,
) -> GapNetwork:
    """VGG-16 through conv5_3, CAM_conv, pooling, dropout 0.5, CAM_fc: a 14×14 map of 1024 units at 224.

    `variant`: `torchvision` (`weights="imagenet"` possible) or `caffe`, whose input is in 0..255 less the means, as
    the paper's. `weights`: `none`, `imagenet` or a file; the authors' own is vgg16CAM_train_iter_90000.caffemodel,
    named in the README of the project metalbubble/CAM, for `caffe`. `new_head=False` insists that the weights cover
    every layer. Raises ValueError for an unknown variant or pool and for weights that do not fit. Section 3.1 of the
    paper, and the authors' network definition.
    """
    trunk = vgg16_trunk(variant)
    trunk.add_module("cam_conv", cam_conv(512, bias=0.0))
    trunk.add_module("cam_relu", nn.ReLU(inplace=True))
    network = GapNetwork(
        trunk,
        cam_fc(1024, num_classes),
        pool=pool,
        dropout=0.5,
        normalization=vgg16_normalization(variant),
        min_size=1 if variant == "caffe" else 16,
        published=vgg16_published(variant, {}, {"CAM_conv": "trunk.cam_conv", "CAM_fc": "classifier"}),
    )
    load_weights(network, weights, new_head)
    return network
