"""BAS: a map learns to cover the object by what is left of the class's score where the map has been erased."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from cam_lightning.backbone.network import TrunkNetwork, average_onto_grid
from cam_lightning.contracts import Batch, ClassifierOutput, Loss
from cam_lightning.method.class_map_branch import class_map_branch
from cam_lightning.method.classification import Classification
from cam_lightning.method.trunk_layer import before_the_last, layer_shapes, require_trunk, xavier_


class Bas(Classification):
    """Cross entropy, and a map that suppresses the background's activation; options as `Classification`'s.

    Its network is a `BackgroundSuppression`. With M the label's map, S the label's score, and S_b its score where the
    features are multiplied by 1 − M, all classes' weights held and S not differentiated:

        classification   cross entropy of the scores
        foreground       cross entropy of the scores of the class maps times M               × `foreground_weight`
        background       S_b / (S + 1e-8), 0 where S_b ≥ S: the background activation suppression loss
        area             mean of M                                                           × `area_weight`

    Wu, Zhai and Cao 2022 (CVPR), section 3; wpy1999/BAS, {CUB,ILSVRC}/Model. `foreground_weight` and
    `area_weight` are, in that code, 0.05 and 1 for ILSVRC and VGG-16, as here, 1 and 2 for ResNet-50; 0 and 0.7 for CUB
    and VGG-16. Raises ValueError for weights below 0.
    """

    def __init__(self, *args: Any, foreground_weight: float = 0.05, area_weight: float = 1.0, **options: Any) -> None:
        for name, weight in {"foreground_weight": foreground_weight, "area_weight": area_weight}.items():
            if not weight >= 0:
                raise ValueError(f"method.{name} is at least 0; got {weight}")
        super().__init__(*args, **options)
        self.foreground_weight = foreground_weight
        self.area_weight = area_weight

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        network: BackgroundSuppression = self.network  # type: ignore[assignment]
        label_B = batch.truth.label_B
        rows_B = torch.arange(len(label_B), device=label_B.device)
        map_B1hw = output.more["coverage_BChw"][rows_B, label_B][:, None]
        score_B = output.logits_BC.detach()[rows_B, label_B]
        left_B = network.score_outside(output.features_BKhw, map_B1hw)[rows_B, label_B]
        class_map_BChw = output.more["map_BChw"]
        with torch.autocast(map_B1hw.device.type, enabled=False):
            seen_B1hw = average_onto_grid(map_B1hw, (class_map_BChw.shape[2], class_map_BChw.shape[3]))
        inside_BC = (class_map_BChw * seen_B1hw).mean((2, 3))
        parts = {
            "classification": super().loss(output, batch).total,
            "foreground": self.foreground_weight * F.cross_entropy(inside_BC, label_B),
            "background": torch.where(left_B < score_B, left_B / (score_B + 1e-8), torch.zeros_like(left_B)).mean(),
            "area": self.area_weight * map_B1hw.mean(),
        }
        return Loss(sum(parts.values(), torch.zeros((), device=label_B.device)), parts)


class BackgroundSuppression(TrunkNetwork):
    """A network split behind one layer of its trunk: there a map per class is made, and there features are erased.

    What it calls features is what that layer gives. Behind it come the rest of the trunk and two 3×3 convolutions and
    one with a map per class, each with its ReLU, whose means are the scores; beside it a 3×3 convolution and a sigmoid
    give the class activation map of every class, from 0 to 1. Head and map are in float32, the rest of the trunk too.

    `layer` is one of the trunk's first level; None takes that whose map was last finer, where SPG looks first:
    vgg16_gap's conv4_3, as published; layer3 in the published ResNet-50. Of a trunk that is no sequence of layers
    (timm's), it is the last. Raises ValueError for a network without a trunk, a layer that it has not, and no units.
    """

    map_unit = "share of object (0 to 1)"
    heads = ("classifier.4", "localizer")

    def __init__(self, network: TrunkNetwork, layer: str | int | None = None, units: int = 1024) -> None:
        require_trunk(network, "bas")
        if units < 1:
            raise ValueError(f"method.network_part.units is at least 1; got {units}")
        trunk, rest = _split(network.trunk, None if layer is None else str(layer), network.min_size)
        super().__init__(trunk, network.normalization, network.min_size, network.published)
        K = layer_shapes(trunk, self.min_size, [""])[""][0]
        last_K = layer_shapes(network.trunk, self.min_size, [""])[""][0]
        self.rest = rest
        self.classifier = class_map_branch(last_K, units, network.num_classes)
        self.localizer = nn.Conv2d(K, network.num_classes, 3, padding=1)
        xavier_(self.localizer)
        if network.is_loaded:
            kept = (name for name in network.new_layers if name.startswith("trunk."))
            renamed = (_renamed(name, rest) for name in kept)
            self.new_layers = (*renamed, "classifier", "localizer")
            self.is_loaded = True

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        map_BChw = self.classifier(self.rest(features_BKhw)).relu()
        coverage_BChw = self.localizer(features_BKhw).sigmoid()
        return ClassifierOutput(
            map_BChw.mean((2, 3)), features_BKhw, {"map_BChw": map_BChw, "coverage_BChw": coverage_BChw}
        )

    def score_outside(self, features_BKhw: Tensor, map_B1hw: Tensor) -> Tensor:
        """The scores (B, C) of what a map from 0 to 1 leaves of the features: only the map is differentiated."""
        with torch.autocast(map_B1hw.device.type, enabled=False):
            erased_BKhw = features_BKhw.detach() * (1 - map_B1hw)
            return _held(self.classifier, _held(self.rest, erased_BKhw)).relu().mean((2, 3))

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        rows_B1 = torch.arange(len(classes_BT), device=classes_BT.device)[:, None]
        return output.more["coverage_BChw"].detach()[rows_B1, classes_BT]


def _held(layers: nn.Module, x_BKhw: Tensor) -> Tensor:
    """The layers on an input, with their weights as constants; running statistics stay as they are."""
    constants = {name: value.detach() for name, value in layers.named_parameters()}
    constants |= {name: value.clone() for name, value in layers.named_buffers()}
    return functional_call(layers, constants, (x_BKhw,))


def _split(trunk: nn.Module, layer: str | None, min_size: int) -> tuple[nn.Module, nn.Module]:
    """The trunk up to and with a layer of its first level, and the rest, which shares its layers."""
    if not isinstance(trunk, nn.Sequential):
        if layer is not None:
            raise ValueError("method.network_part.layer: this trunk is no sequence of layers, so it cannot be split")
        return trunk, nn.Sequential()
    layer = before_the_last(trunk, min_size)[0] if layer is None else layer
    names = [name for name, _ in trunk.named_children()]
    if layer not in names:
        raise ValueError(f"method.network_part.layer={layer} is no layer of the trunk, which has {', '.join(names)}")
    first, rest = nn.Sequential(), nn.Sequential()
    for number, (name, module) in enumerate(trunk.named_children()):
        (first if number <= names.index(layer) else rest).add_module(name, module)
    return first, rest


def _renamed(name: str, rest: nn.Module) -> str:
    """A layer's name, `trunk.…`, where it may now lie in the rest."""
    inner = name.removeprefix("trunk.")
    return f"rest.{inner}" if hasattr(rest, inner.partition(".")[0]) else name
