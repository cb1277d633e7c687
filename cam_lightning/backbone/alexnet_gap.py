"""AlexNet-GAP: AlexNet through conv5, then the paper's convolution, pooling and linear layer."""

from __future__ import annotations

from torch import nn

from cam_lightning.backbone.alexnet import Variant, alexnet_normalization, alexnet_published, alexnet_trunk
from cam_lightning.backbone.layers import cam_conv, cam_fc
from cam_lightning.backbone.network import GapNetwork
from cam_lightning.backbone.pooling import Pool
from cam_lightning.backbone.weights import load_weights


def alexnet_gap(
    num_classes: int,
    variant: Variant = "torchvision",
    pool: Pool = "average",
    weights: str = "none",
    new_head: bool = True,
) -> GapNetwork:
    """AlexNet through conv5, CAM_conv, pooling, CAM_fc: a 13×13 map of 1024 units at 224.

    `variant`: `torchvision` (`weights="imagenet"` possible), `caffe` (the paper's own trunk) or `bvlc` (the same,
    normalised before pooling). `weights`: `none`, `imagenet` or a file; bvlc_reference_caffenet.caffemodel fills the
    trunk of `caffe`. `new_head=False` insists that the weights cover every layer. Raises ValueError for an unknown
    variant or pool, and for weights that do not fit. Section 3.1 of the paper; the bias of CAM_conv is not published
    and starts at 1, as in the convolutions added for AlexNet*.
    """
    trunk = alexnet_trunk(variant, conv5_units=256)
    trunk.add_module("cam_conv", cam_conv(256, bias=1.0))
    trunk.add_module("cam_relu", nn.ReLU(inplace=True))
    network = GapNetwork(
        trunk,
        cam_fc(1024, num_classes),
        pool=pool,
        normalization=alexnet_normalization(variant),
        min_size=31 if variant == "torchvision" else 23,
        published=alexnet_published(variant, {}, {"CAM_conv": "trunk.cam_conv", "CAM_fc": "classifier"}),
    )
    load_weights(network, weights, new_head)
    return network
