"""VGG-16: the trunk of VGGnet-GAP, and the unmodified network, which has no class activation map."""

from __future__ import annotations

from functools import partial

from torch import nn
from torchvision.models import VGG16_Weights

from cam_lightning.backbone.layers import gaussian_linear, kaiming_
from cam_lightning.backbone.network import IMAGENET, FullyConnectedNetwork, PublishedWeights
from cam_lightning.backbone.weights import load_weights, read_torchvision

_UNITS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(num_classes: int, weights: str = "none", new_head: bool = True) -> FullyConnectedNetwork:
    """The unmodified VGG-16 (Tables 1 and 2): thirteen convolutions, three fully connected layers, no CAM.

    `weights` and `new_head` are those of `vgg16_gap`. Raises ValueError for weights that do not fit.
    """
    network = FullyConnectedNetwork(
        vgg16_trunk(),
        nn.MaxPool2d(2, stride=2),
        nn.Sequential(
            gaussian_linear(512 * 7 * 7, 4096, std=0.01),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            gaussian_linear(4096, 4096, std=0.01),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            gaussian_linear(4096, num_classes, std=0.01),
        ),
        grid=7,
        normalization=IMAGENET,
        min_size=32,
        published=vgg16_published({"classifier.": "classifier."}),
    )
    load_weights(network, weights, new_head)
    return network


def vgg16_trunk() -> nn.Sequential:
    """VGG-16 from the image through conv5_3 and its ReLU, layers numbered as in torchvision."""
    layers: list[nn.Module] = []
    in_channels = 3
    for block in _UNITS:
        if layers:
            layers.append(nn.MaxPool2d(2, stride=2))
        for units in block:
            layers += [nn.Conv2d(in_channels, units, 3, padding=1), nn.ReLU(inplace=True)]
            in_channels = units
    kaiming_(layers)
    return nn.Sequential(*layers)


def vgg16_published(names: dict[str, str]) -> PublishedWeights:
    """torchvision's weights, with `names` for the layers behind the trunk."""
    return PublishedWeights({"features.": "trunk.", **names}, partial(read_torchvision, VGG16_Weights.IMAGENET1K_V1))
