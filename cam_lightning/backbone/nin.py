"""Network in Network, as published for ImageNet (Lin et al. 2014): its last maps are class maps already."""

from __future__ import annotations

from typing import Literal

from torch import nn

from cam_lightning.backbone.layers import class_conv, kaiming_
from cam_lightning.backbone.network import CAFFE, ClassMapNetwork, PublishedWeights
from cam_lightning.backbone.weights import load_weights

Variant = Literal["caffe"]

_CAFFE = (
    {"conv1": "trunk.0", "cccp1": "trunk.2", "cccp2": "trunk.4"}
    | {"conv2": "trunk.7", "cccp3": "trunk.9", "cccp4": "trunk.11"}
    | {"conv3": "trunk.14", "cccp5": "trunk.16", "cccp6": "trunk.18"}
    | {"conv4-1024": "trunk.22", "cccp7-1024": "trunk.24", "cccp8-1024": "class_conv"}
)
"""Layer of the published `.caffemodel` → ours."""


def nin(
    num_classes: int,
    variant: Variant = "caffe",
    weights: str = "none",
    new_head: bool = True,
) -> ClassMapNetwork:
    """NIN (Tables 1 and 2): four convolutions, each with two 1×1 ones behind it: 6×6 class maps at 224.

    `variant` is `caffe`, in which alone it was published. `weights` is `none` or a file; its authors' is
    nin_imagenet.caffemodel, of Caffe's model zoo (gist d802a5849de39225bcc6 of mavenlin), whose colours are BGR as in
    every file of Caffe's. Raises ValueError for another variant and for weights that do not fit. Convolutions start as
    by He et al. 2015, the class maps from N(0, 0.01).
    """
    if variant != "caffe":
        raise ValueError(f"NIN has the variant 'caffe' alone, not {variant!r}")
    trunk = nn.Sequential(
        *_mlpconv(3, 96, kernel_size=11, stride=4),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        *_mlpconv(96, 256, kernel_size=5, padding=2),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        *_mlpconv(256, 384, kernel_size=3, padding=1),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.Dropout(0.5),
        # The second of the last two 1×1 convolutions is the one with a map per class.
        *_mlpconv(384, 1024, kernel_size=3, padding=1)[:4],
    )
    kaiming_(trunk)
    network = ClassMapNetwork(
        trunk,
        class_conv(1024, num_classes),
        normalization=CAFFE,
        min_size=39,
        published=PublishedWeights({}, caffe=_CAFFE),
    )
    load_weights(network, weights, new_head)
    return network


def _mlpconv(in_channels: int, units: int, kernel_size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """A convolution and two 1×1 convolutions, each with its ReLU."""
    return [
        nn.Conv2d(in_channels, units, kernel_size, stride, padding),
        nn.ReLU(inplace=True),
        nn.Conv2d(units, units, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(units, units, 1),
        nn.ReLU(inplace=True),
    ]
