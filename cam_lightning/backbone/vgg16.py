"""VGG-16: the trunk of VGGnet-GAP, and the unmodified network, which has no class activation map."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn
from torchvision.models import VGG16_Weights

from cam_lightning.backbone.layers import gaussian_linear, kaiming_
from cam_lightning.backbone.network import CAFFE_VGG, IMAGENET, FullyConnectedNetwork, Normalization, PublishedWeights
from cam_lightning.backbone.weights import load_weights, read_torchvision

Variant = Literal["torchvision", "caffe"]

_UNITS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(
    num_classes: int,
    variant: Variant = "torchvision",
    weights: str = "none",
    new_head: bool = True,
) -> FullyConnectedNetwork:
    """The unmodified VGG-16 (Tables 1 and 2): thirteen convolutions, three fully connected layers, no CAM.

    `variant`, `weights` and `new_head` are those of `vgg16_gap`. Raises ValueError for an unknown variant and for
    weights that do not fit.
    """
    caffe = variant == "caffe"
    network = FullyConnectedNetwork(
        vgg16_trunk(variant),
        nn.MaxPool2d(2, stride=2, ceil_mode=caffe),
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
        normalization=vgg16_normalization(variant),
        min_size=1 if caffe else 32,
        published=vgg16_published(
            variant, {"classifier.": "classifier."}, {f"fc{6 + i}": f"classifier.{3 * i}" for i in range(3)}
        ),
    )
    load_weights(network, weights, new_head)
    return network


def vgg16_trunk(variant: Variant) -> nn.Sequential:
    """VGG-16 from the image through conv5_3 and its ReLU, layers numbered as in torchvision.

    `torchvision` and `caffe` have the same layers; Caffe's pooling rounds the map's size up. Raises ValueError for
    another variant.
    """
    if variant not in ("torchvision", "caffe"):
        raise ValueError(f"VGG-16 has the variants 'torchvision' and 'caffe', not {variant!r}")
    layers: list[nn.Module] = []
    in_channels = 3
    for block in _UNITS:
        if layers:
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=variant == "caffe"))
        for units in block:
            layers += [nn.Conv2d(in_channels, units, 3, padding=1), nn.ReLU(inplace=True)]
            in_channels = units
    kaiming_(layers)
    return nn.Sequential(*layers)


def vgg16_normalization(variant: Variant) -> Normalization:
    """What the trunk expects of its input."""
    return IMAGENET if variant == "torchvision" else CAFFE_VGG


def vgg16_published(variant: Variant, names: dict[str, str], caffe: dict[str, str]) -> PublishedWeights:
    """torchvision's weights, with `names` for the layers behind the trunk, or Caffe's files, with `caffe` for those.

    Layers of Caffe's: VGG_ILSVRC_16_layers.caffemodel of the Visual Geometry Group, Oxford (in Caffe's model zoo).
    """
    if variant == "caffe":
        return PublishedWeights({}, caffe={**_caffe_names(), **caffe})
    return PublishedWeights({"features.": "trunk.", **names}, partial(read_torchvision, VGG16_Weights.IMAGENET1K_V1))


def _caffe_names() -> dict[str, str]:
    """Layer of Caffe's VGG-16 → ours, trunk alone: a block is its convolutions with their ReLUs, then pooling."""
    names, place = {}, 0
    for block, units in enumerate(_UNITS, start=1):
        for number in range(1, len(units) + 1):
            names[f"conv{block}_{number}"] = f"trunk.{place}"
            place += 2
        place += 1
    return names
