"""GoogLeNet-GAP, the paper's main network, and with `pool="max"` GoogLeNet-GMP."""

from __future__ import annotations

from torch import nn

from cam_lightning.backbone.googlenet import (
    MIN_SIZE,
    Variant,
    googlenet_normalization,
    googlenet_published,
    googlenet_trunk,
    scaled,
)
from cam_lightning.backbone.layers import cam_conv, cam_fc
from cam_lightning.backbone.network import GapNetwork
from cam_lightning.backbone.pooling import Pool
from cam_lightning.backbone.weights import load_weights


def googlenet_gap(
    num_classes: int,
    variant: Variant = "torchvision",
    pool: Pool = "average",
    batch_norm: bool = False,
    units: int = 1024,
    width: float = 1.0,
    stride: int = 16,
    weights: str = "none",
    new_head: bool = True,
) -> GapNetwork:
    """GoogLeNet through inception 4e, CAM_conv, pooling, CAM_fc: a 14×14 map of 1024 units at 224.

    `variant`: `torchvision` (batch normalisation; `weights="imagenet"` possible) or `caffe` (the paper's
    own trunk). `batch_norm` normalises CAM_conv's output: not the paper's, but for training from scratch,
    where the released bias of 1 holds every unit on everywhere, and the map of any class nearly constant.
    `units` of CAM_conv, which takes a third of the operations (at stride 8, half), and `width`, which scales
    these and all other layers, make it smaller than the paper's. `units=0` leaves CAM_conv out: the 832 channels of
    inception 4e are pooled. `stride=8` makes the map twice as fine, 32 half as fine (`googlenet_trunk`).
    `weights`: `none`, `imagenet` or a file. `new_head=False` insists that the weights cover every layer.
    The authors' own is imagenet_googlenetCAM_train_iter_120000.caffemodel, named in the README of the project
    metalbubble/CAM, for `caffe`; bvlc_googlenet.caffemodel, which they began with, gives the trunk alone.
    Raises ValueError for an unknown variant, pool or stride, and for weights that do not fit. Section 3.1 of
    the paper, and the authors' network definition.
    """
    trunk = googlenet_trunk(variant, "inception4e", width, stride)
    channels = sum(scaled(branch, width) for branch in (256, 320, 128, 128))
    if batch_norm and not units:
        raise ValueError("backbone.batch_norm normalises CAM_conv's output, and backbone.units=0 leaves CAM_conv out")
    if units:
        units = scaled(units, width)
        trunk.add_module("cam_conv", cam_conv(channels, bias=1.0, units=units))
        if batch_norm:
            trunk.add_module("cam_norm", nn.BatchNorm2d(units, eps=0.001))
        trunk.add_module("cam_relu", nn.ReLU(inplace=True))
    network = GapNetwork(
        trunk,
        cam_fc(units or channels, num_classes),
        pool=pool,
        normalization=googlenet_normalization(variant),
        min_size=31 if stride == 32 and variant == "caffe" else MIN_SIZE,
        # The published linear layer also reads 1024 units, but those of inception 5b: it stays behind.
        published=googlenet_published(variant, {}, {"CAM_conv": "trunk.cam_conv", "CAM_fc": "classifier"}),
    )
    load_weights(network, weights, new_head)
    return network
