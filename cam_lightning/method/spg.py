"""SPG: the network's own attention, where it is sure, teaches its earlier layers to tell object from background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import Batch, ClassifierOutput, Loss
from cam_lightning.method.class_map_branch import unit_range
from cam_lightning.method.classification import Classification
from cam_lightning.method.trunk_layer import (
    before_the_last,
    captured,
    layer_named,
    layer_shapes,
    require_trunk,
    xavier_,
)

FEW_PIXELS = 30
"""With fewer pixels above the upper threshold, those above `SHARE` of the map's maximum are object instead."""
SHARE = 0.7


class Spg(Classification):
    """Cross entropy, and three masks of its own making to learn; options as `Classification`'s.

    Its network is a `SelfProducedGuidance`. All maps are upsampled to the image, bilinearly. A pixel of a map is object
    above the upper threshold, background below the lower one (which wins), else not counted. The binary cross
    entropies, each the mean over all counted pixels of the batch, teach

        deep     branch B2 by the label's class map from 0 to 1            `attention_thresholds`
        shallow  branch B1 by B2's sigmoid                                 `deep_thresholds`
        last     branch C by the mean of both sigmoids                     `fused_thresholds`

    and are added to the classes'; masks are not differentiated. Zhang et al. 2018 (ECCV), section 3; xiaomengyc/SPG,
    inception3_spg.py. The
    WSOL benchmark (method/spg.py) has the lower `attention_thresholds` at 0.01. In the first code a threshold lowered
    for an image of few object pixels stays so for the rest of the batch, in the benchmark and here for that image.
    """

    def __init__(
        self,
        *args: Any,
        attention_thresholds: Sequence[float] = (0.7, 0.05),
        deep_thresholds: Sequence[float] = (0.5, 0.05),
        fused_thresholds: Sequence[float] = (0.7, 0.1),
        **options: Any,
    ) -> None:
        pairs = {"attention": attention_thresholds, "deep": deep_thresholds, "fused": fused_thresholds}
        for name, pair in pairs.items():
            if len(pair) != 2 or not 0 < pair[1] <= pair[0] < 1:
                raise ValueError(f"method.{name}_thresholds are an upper and a lower share in (0, 1); got {list(pair)}")
        super().__init__(*args, **options)
        self.thresholds = {name: (float(high), float(low)) for name, (high, low) in pairs.items()}

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        size = batch.image_B3HW.shape[2:]
        label_B = batch.truth.label_B
        rows = torch.arange(len(label_B), device=label_B.device)
        attention_B1HW = unit_range(_upsampled(output.more["map_BChw"][rows, label_B][:, None], size)[:, 0])[:, None]
        shallow, deep, last = (_upsampled(output.more[name], size) for name in ("shallow", "deep", "last"))
        fused_B1HW = (shallow.sigmoid() + deep.sigmoid()) / 2
        parts = {
            "classification": super().loss(output, batch).total,
            "deep": guided(deep, attention_B1HW, *self.thresholds["attention"]),
            "shallow": guided(shallow, deep.sigmoid(), *self.thresholds["deep"]),
            "last": guided(last, fused_B1HW, *self.thresholds["fused"]),
        }
        return Loss(sum(parts.values(), torch.zeros((), device=label_B.device)), parts)


def _upsampled(map_B1hw: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(map_B1hw, tuple(size), mode="bilinear")


def sure_pixels(map_B1HW: Tensor, high: float, low: float) -> tuple[Tensor, Tensor]:
    """Which pixels of each map are object, and which are background: bool (B, 1, H, W) both."""
    object_B1HW = map_B1HW > high
    few_B = object_B1HW.sum((1, 2, 3)) < FEW_PIXELS
    brightest_B1HW = map_B1HW > SHARE * map_B1HW.amax((2, 3), keepdim=True)
    background_B1HW = map_B1HW < low
    object_B1HW = torch.where(few_B[:, None, None, None], brightest_B1HW, object_B1HW)
    return object_B1HW & ~background_B1HW, background_B1HW


def guided(logit_B1HW: Tensor, map_B1HW: Tensor, high: float, low: float) -> Tensor:
    """The mean binary cross entropy of the logits with the sure pixels of a map, which is not differentiated."""
    object_B1HW, background_B1HW = sure_pixels(map_B1HW.detach(), high, low)
    counted_B1HW = (object_B1HW | background_B1HW).float()
    entropy_B1HW = F.binary_cross_entropy_with_logits(logit_B1HW, object_B1HW.float(), reduction="none")
    return (entropy_B1HW * counted_B1HW).sum() / counted_B1HW.sum()


class SelfProducedGuidance(TrunkNetwork):
    """A network whose head is a map per class, their means the scores; in training with SPG's branches B1, B2 and C.

    B1 and B2 are a 3×3 convolution of their own behind two `layers` of the trunk, named from shallow to deep, and two
    that they share; C is two convolutions behind the trunk. The map of a class is that of the head, as published.
    `layers` None takes `trunk_layer.before_the_last`; published places, in our names: vgg16_gap [22, 29],
    inception_v3_gap [Mixed_5d, Mixed_6e], resnet50_gap [layer3.0, layer3]. `units` are 512, in the benchmark's ResNet
    1024. The head's further 3×3 convolutions, which differ among the codes, are those that the backbone itself has.
    Convolutions start as Xavier's, biases at 0, as released. Raises ValueError for a network without a trunk, layers
    that it has not, and no units.
    """

    map_unit = "logit per cell (mean over the cells = logit)"
    heads = ("class_conv",)

    def __init__(self, network: TrunkNetwork, layers: Sequence[str | int] | None = None, units: int = 512) -> None:
        require_trunk(network, "spg")
        if units < 1:
            raise ValueError(f"method.network_part.units is at least 1; got {units}")
        super().__init__(network.trunk, network.normalization, network.min_size, network.published)
        names = before_the_last(self.trunk, self.min_size) if layers is None else tuple(map(str, layers))
        if len(names) != 2:
            raise ValueError(f"method.network_part.layers are two, the shallow one first; got {list(names)}")
        for name in names:
            layer_named(self.trunk, name, "layers")
        self.layers = names
        shape_of = layer_shapes(self.trunk, self.min_size, {*names, ""})
        K = shape_of[""][0]
        self.shallow, self.deep = (
            nn.Sequential(nn.Conv2d(shape_of[name][0], units, 3, padding=1), nn.ReLU()) for name in names
        )
        self.shared = nn.Sequential(nn.Conv2d(units, units, 3, padding=1), nn.ReLU(), nn.Conv2d(units, 1, 1))
        self.last = nn.Sequential(nn.Conv2d(K, units, 3, padding=1), nn.ReLU(), nn.Conv2d(units, 1, 1))
        self.class_conv = nn.Conv2d(K, network.num_classes, 1)
        branches = ("shallow", "deep", "shared", "last", "class_conv")
        for name in branches:
            xavier_(self.get_submodule(name))
        if network.is_loaded:
            kept = tuple(layer for layer in network.new_layers if layer.startswith("trunk."))
            self.new_layers = (*kept, *branches)
            self.is_loaded = True

    def forward(self, x_B3HW: Tensor) -> ClassifierOutput:
        if not self.training:
            return super().forward(x_B3HW)
        with captured(self.trunk, set(self.layers)) as given:
            features_BKhw = self.forward_features(x_B3HW)
        output = self.forward_head(features_BKhw)
        with torch.autocast(features_BKhw.device.type, enabled=False):
            shallow, deep = (given[name].float() for name in self.layers)
            branches = {
                "shallow": self.shared(self.shallow(shallow)),
                "deep": self.shared(self.deep(deep)),
                "last": self.last(features_BKhw),
            }
        return output._replace(more={**output.more, **branches})

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        map_BChw = self.class_conv(features_BKhw)
        return ClassifierOutput(map_BChw.mean((2, 3)), features_BKhw, {"map_BChw": map_BChw})

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        rows_B1 = torch.arange(len(classes_BT), device=classes_BT.device)[:, None]
        return output.more["map_BChw"].detach()[rows_B1, classes_BT]
