"""AlexNet: the trunk of AlexNet-GAP, and the unmodified network, which has no class activation map."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn
from torchvision.models import AlexNet_Weights

from cam_lightning.backbone.layers import LocalResponseNorm, gaussian_conv, gaussian_linear, kaiming_
from cam_lightning.backbone.network import (
    CAFFE,
    IMAGENET,
    FullyConnectedNetwork,
    Normalization,
    PublishedWeights,
)
from cam_lightning.backbone.weights import load_weights, read_torchvision

Variant = Literal["torchvision", "caffe", "bvlc"]


def alexnet(
    num_classes: int,
    variant: Variant = "torchvision",
    weights: str = "none",
    new_head: bool = True,
) -> FullyConnectedNetwork:
    """The unmodified AlexNet (Tables 1 and 2): five convolutions, three fully connected layers, no CAM.

    `variant`, `weights` and `new_head` are those of `alexnet_gap`; Caffe publishes bvlc_reference_caffenet.caffemodel
    for `caffe` and bvlc_alexnet.caffemodel for `bvlc`. Dropout lies before the first two linear layers in torchvision,
    behind them in Caffe's. Raises ValueError for an unknown variant or weights that do not fit.
    """
    caffe = variant != "torchvision"
    hidden = partial(gaussian_linear, std=0.005, bias_value=1.0)
    network = FullyConnectedNetwork(
        alexnet_trunk(variant, conv5_units=256),
        nn.MaxPool2d(3, stride=2, ceil_mode=caffe),
        nn.Sequential(
            nn.Identity() if caffe else nn.Dropout(0.5),
            hidden(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            hidden(4096, 4096),
            # As one layer, so that checkpoints of all variants have the same names.
            nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.5)) if caffe else nn.ReLU(inplace=True),
            gaussian_linear(4096, num_classes, std=0.01),
        ),
        grid=6,
        normalization=alexnet_normalization(variant),
        min_size=39 if caffe else 63,
        published=alexnet_published(
            variant,
            {"classifier.": "classifier."},
            {"fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"},
        ),
    )
    load_weights(network, weights, new_head)
    return network


def alexnet_trunk(variant: Variant, conv5_units: int) -> nn.Sequential:
    """AlexNet from the image through the fifth convolution and its ReLU: a 13×13 map at 224 and 227.

    `torchvision`: 64-192-384-256-`conv5_units` units, layers numbered as there. `caffe`: the paper's,
    96-256-384-384-`conv5_units`, with groups and local response normalisation behind pooling; `bvlc` has it
    before pooling, as Krizhevsky et al. 2012. Raises ValueError for another variant. Fillers of both: the authors'
    released AlexNet* definition.
    """
    if variant == "torchvision":
        trunk = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, conv5_units, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        kaiming_(trunk)
        return trunk
    if variant not in ("caffe", "bvlc"):
        raise ValueError(f"AlexNet has the variants 'torchvision', 'caffe' and 'bvlc', not {variant!r}")
    return nn.Sequential(
        gaussian_conv(3, 96, 11, stride=4),
        nn.ReLU(inplace=True),
        *_pooling_and_normalisation(variant),
        gaussian_conv(96, 256, 5, padding=2, groups=2, bias_value=1.0),
        nn.ReLU(inplace=True),
        *_pooling_and_normalisation(variant),
        gaussian_conv(256, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        gaussian_conv(384, 384, 3, padding=1, groups=2, bias_value=1.0),
        nn.ReLU(inplace=True),
        gaussian_conv(384, conv5_units, 3, padding=1, groups=2, bias_value=1.0),
        nn.ReLU(inplace=True),
    )


def _pooling_and_normalisation(variant: Variant) -> list[nn.Module]:
    """In the variant's order."""
    layers = [nn.MaxPool2d(3, stride=2, ceil_mode=True), LocalResponseNorm()]
    return layers if variant == "caffe" else layers[::-1]


def alexnet_normalization(variant: Variant) -> Normalization:
    """What the trunk expects of its input."""
    return IMAGENET if variant == "torchvision" else CAFFE


def alexnet_published(variant: Variant, names: dict[str, str], caffe: dict[str, str]) -> PublishedWeights:
    """torchvision's weights, with `names` for the layers behind the trunk, or Caffe's files, with `caffe` for those.

    Layers of Caffe's: `models/bvlc_reference_caffenet` and `models/bvlc_alexnet` of the project BVLC/caffe, which
    differ in the order of pooling and normalisation alone.
    """
    if variant != "torchvision":
        trunk = {f"conv{number}": f"trunk.{place}" for number, place in enumerate((0, 4, 8, 10, 12), start=1)}
        order = ("pool1", "norm1", "pool2", "norm2") if variant == "caffe" else ("norm1", "pool1", "norm2", "pool2")
        hint = f"With backbone.variant={'bvlc' if variant == 'caffe' else 'caffe'} it is"
        return PublishedWeights({}, caffe={**trunk, **caffe}, caffe_order=order, caffe_hint=hint)
    return PublishedWeights({"features.": "trunk.", **names}, partial(read_torchvision, AlexNet_Weights.IMAGENET1K_V1))
