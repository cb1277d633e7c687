"""GoogLeNet: the trunk of GoogLeNet-GAP, and the unmodified network, whose class activation map is 7×7."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import GoogLeNet_Weights
from torchvision.models.googlenet import BasicConv2d, Inception

from cam_lightning.backbone.layers import LocalResponseNorm, bias_of, cam_fc, kaiming_, xavier_
from cam_lightning.backbone.network import CAFFE, CENTERED, GapNetwork, Normalization, PublishedWeights
from cam_lightning.backbone.weights import load_weights, read_torchvision

Variant = Literal["torchvision", "caffe"]

MIN_SIZE = 15
"""Of the trunk through inception 4e, in both variants."""
# Input channels, then the output channels of: 1×1, 3×3 reduction, 3×3, 5×5 reduction, 5×5, pool projection.
_INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def googlenet(
    num_classes: int,
    variant: Variant = "torchvision",
    weights: str = "none",
    new_head: bool = True,
) -> GapNetwork:
    """The unmodified GoogLeNet without auxiliary heads (Table 2): 1024 units, a 7×7 map at 224.

    `variant`, `weights` and `new_head` are those of `googlenet_gap`. Raises ValueError for an unknown
    variant or weights that do not fit.
    """
    network = GapNetwork(
        googlenet_trunk(variant, last="inception5b"),
        cam_fc(1024, num_classes),
        dropout={"torchvision": 0.2, "caffe": 0.4}[variant],
        normalization=googlenet_normalization(variant),
        min_size=31 if variant == "caffe" else MIN_SIZE,
        published=googlenet_published(variant, {"fc.": "classifier."}, {"loss3/classifier": "classifier"}),
    )
    load_weights(network, weights, new_head)
    return network


def googlenet_trunk(variant: Variant, last: str, width: float = 1.0, stride: int = 16) -> nn.Sequential:
    """GoogLeNet from the image to the inception module `last`, under torchvision's names.

    `torchvision`: batch normalisation, 3×3 where the original has 5×5. `caffe`: the paper's, with 5×5
    convolutions, local response normalisation, biases of 0.2; in full width alone. `width` multiplies
    every number of channels; `stride=8` lets the third pooling keep the map's size, and `stride=32` has the
    fourth one behind inception 4e. Raises ValueError for another variant, width or stride.
    """
    if stride not in (8, 16, 32):
        raise ValueError(
            "GoogLeNet through inception 4e has one cell for 16×16 pixels, with stride=8 for 8×8, with stride=32 for "
            f"32×32; got stride={stride}"
        )
    if variant == "torchvision":
        layers = _torchvision_layers(width)
    elif variant == "caffe" and width == 1:
        layers = _caffe_layers()
    else:
        raise ValueError(
            f"GoogLeNet has the variants 'torchvision', of any width, and 'caffe', of width 1; "
            f"got {variant!r} of width {width:g}"
        )
    if stride == 8:
        layers["maxpool3"] = nn.MaxPool2d(3, stride=1, padding=1)
    names = list(layers)
    end = names.index("maxpool4" if stride == 32 and last == "inception4e" else last)
    return nn.Sequential(OrderedDict((name, layers[name]) for name in names[: end + 1]))


def googlenet_normalization(variant: Variant) -> Normalization:
    """What the trunk expects. torchvision's weights were trained on pixels in −1..1, which their own
    `transform_input` makes of ImageNet-normalised images; here the images come that way directly."""
    return CENTERED if variant == "torchvision" else CAFFE


def googlenet_published(variant: Variant, names: dict[str, str], caffe: dict[str, str]) -> PublishedWeights:
    """torchvision's weights, with `names` for the layers behind the trunk, or Caffe's files, with `caffe` for those.

    Layers of Caffe's: `models/bvlc_googlenet` of the project BVLC/caffe, which publishes bvlc_googlenet.caffemodel.
    """
    if variant == "caffe":
        order = ("pool1/3x3_s2", "pool1/norm1", "conv2/norm2", "pool2/3x3_s2")
        return PublishedWeights({}, caffe={**_caffe_names(), **caffe}, caffe_order=order)
    return PublishedWeights({"": "trunk.", **names}, partial(read_torchvision, GoogLeNet_Weights.IMAGENET1K_V1))


def _torchvision_layers(width: float) -> OrderedDict[str, nn.Module]:
    """torchvision's layers in order, every number of output channels times `width`."""
    stem, stem_out = scaled(64, width), scaled(192, width)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=BasicConv2d(3, stem, kernel_size=7, stride=2, padding=3),
        maxpool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        conv2=BasicConv2d(stem, stem, kernel_size=1),
        conv3=BasicConv2d(stem, stem_out, kernel_size=3, padding=1),
        maxpool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
    )
    in_channels = stem_out
    for name, (_, *full) in _INCEPTIONS.items():
        if name == "4a":
            layers["maxpool3"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        elif name == "5a":
            layers["maxpool4"] = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        one, reduce3, three, reduce5, five, pool = (scaled(channels, width) for channels in full)
        layers[f"inception{name}"] = Inception(in_channels, one, reduce3, three, reduce5, five, pool)
        in_channels = one + three + five + pool
    kaiming_(module for layer in layers.values() for module in layer.modules())
    return layers


def scaled(channels: int, width: float) -> int:
    """Channels times `width`, as a multiple of 8; raises ValueError for a width outside (0, 1]."""
    if not 0 < width <= 1:
        raise ValueError(f"backbone.width lies in (0, 1]; got {width:g}")
    return max(8, round(channels * width / 8) * 8)


def _caffe_layers() -> OrderedDict[str, nn.Module]:
    """The original's layers in order, with Caffe's pooling, which rounds the map's size up."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=_conv_relu(3, 64, kernel_size=7, stride=2, padding=3),
        maxpool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        norm1=LocalResponseNorm(),
        conv2=_conv_relu(64, 64, kernel_size=1),
        conv3=_conv_relu(64, 192, kernel_size=3, padding=1),
        norm2=LocalResponseNorm(),
        maxpool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
    )
    for name, channels in _INCEPTIONS.items():
        if name in ("4a", "5a"):
            layers[f"maxpool{int(name[0]) - 1}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        layers[f"inception{name}"] = _Inception(*channels)
    return layers


def _caffe_names() -> dict[str, str]:
    """Layer of Caffe's GoogLeNet → ours, trunk alone."""
    names = {"conv1/7x7_s2": "trunk.conv1.0", "conv2/3x3_reduce": "trunk.conv2.0", "conv2/3x3": "trunk.conv3.0"}
    branches = {
        "1x1": "branch1.0",
        "3x3_reduce": "branch2.0.0",
        "3x3": "branch2.1.0",
        "5x5_reduce": "branch3.0.0",
        "5x5": "branch3.1.0",
        "pool_proj": "branch4.1.0",
    }
    for name in _INCEPTIONS:
        names |= {f"inception_{name}/{theirs}": f"trunk.inception{name}.{ours}" for theirs, ours in branches.items()}
    return names


class _Inception(nn.Module):
    """Four branches side by side (Szegedy et al. 2015, figure 2b)."""

    def __init__(
        self, in_channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int
    ) -> None:
        super().__init__()
        self.branch1 = _conv_relu(in_channels, one, kernel_size=1)
        self.branch2 = nn.Sequential(
            _conv_relu(in_channels, reduce3, kernel_size=1),
            _conv_relu(reduce3, three, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            _conv_relu(in_channels, reduce5, kernel_size=1),
            _conv_relu(reduce5, five, kernel_size=5, padding=2),
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _conv_relu(in_channels, pool, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


def _conv_relu(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)
    xavier_(conv.weight)
    nn.init.constant_(bias_of(conv), 0.2)
    return nn.Sequential(conv, nn.ReLU(inplace=True))
