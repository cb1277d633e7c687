"""Network in Network, as published for ImageNet (Lin et al. 2014): its last maps are class maps already."""

from __future__ import annotations

from torch import nn

from cam_lightning.backbone.layers import class_conv, kaiming_
from cam_lightning.backbone.network import CAFFE, ClassMapNetwork, PublishedWeights
from cam_lightning.backbone.weights import load_weights


def nin(num_classes: int, weights: str = "none", new_head: bool = True) -> ClassMapNetwork:
    """NIN (Tables 1 and 2): four convolutions, each with two 1×1 ones behind it: 6×6 class maps at 224.

    `weights` is `none` or a file with our names; nobody publishes weights in a form that is sure of the
    order of the colours. Raises ValueError for weights that do not fit. Convolutions start as by He et
    al. 2015, the class maps from N(0, 0.01).
    """
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
        published=PublishedWeights({}),
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
