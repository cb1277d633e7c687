"""ACoL: a second branch that must find the object where the first one's map has been erased."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import Batch, ClassifierOutput, Loss
from cam_lightning.method.class_map_branch import class_map_branch, unit_range
from cam_lightning.method.classification import Classification
from cam_lightning.method.trunk_layer import layer_shapes, require_trunk


class Acol(Classification):
    """Adversarial complementary learning: the sum of both branches' cross entropies; options as `Classification`'s.

    Its network is a `TwoBranches`. In training the features are erased where the map of the label is bright.
    Zhang et al. 2018 (CVPR), section 3.2; xiaomengyc/ACoL, models/vgg; clovaai/wsolevaluation, method/acol.py.
    """

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        network: TwoBranches = self.network  # type: ignore[assignment]
        second_BC = network.erased_map(output, batch.truth.label_B).mean((2, 3))
        first, second = (
            super(Acol, self).loss(ClassifierOutput(logits_BC, output.features_BKhw), batch).total
            for logits_BC in (output.logits_BC, second_BC)
        )
        return Loss(first + second, {"branch_a": first.detach(), "branch_b": second.detach()})


class TwoBranches(TrunkNetwork):
    """A network whose head is replaced by two branches, each two 3×3 convolutions and one with a map per class.

    Branch A sees the trunk's features, branch B the same where A's map of a class, from 0 to 1, is below `threshold`.
    Scores are branch A's, the means of its maps. The map of a class is the larger of both branches' maps from 0 to 1,
    B's with the features erased by A's map of that very class; the released code takes the label, or at test the class
    that A predicts, for all. Each further class so costs one more run of branch B.

    `threshold`: 0.6 as in the paper and its code, 0.7 in the WSOL benchmark. `smooth` averages the features over 3×3
    cells before both branches, as both codes do for VGG-16. `last` names the trunk's last layer that is kept, so that
    `vgg16_gap` with `last=29` branches from conv5_3 as published; None keeps all, also the convolution that the
    paper's GAP networks add. Raises ValueError for a network without a trunk, for a layer that it has not, and for a
    threshold outside (0, 1]. Convolutions start as Xavier's, biases at 0, as released.
    """

    map_unit = "share of the map's own range"
    heads = ("branch_a.4", "branch_b.4")

    def __init__(
        self,
        network: TrunkNetwork,
        units: int = 1024,
        threshold: float = 0.6,
        smooth: bool = True,
        last: str | int | None = None,
    ) -> None:
        require_trunk(network, "acol")
        if not 0 < threshold <= 1:
            raise ValueError(f"method.network_part.threshold is a share of the map in (0, 1]; got {threshold}")
        if units < 1:
            raise ValueError(f"method.network_part.units is at least 1; got {units}")
        trunk = network.trunk if last is None else _until(network.trunk, str(last))
        super().__init__(trunk, network.normalization, network.min_size, network.published)
        self.threshold = threshold
        self.smooth = smooth
        K = layer_shapes(trunk, network.min_size, [""])[""][0]
        self.branch_a, self.branch_b = (class_map_branch(K, units, network.num_classes) for _ in range(2))
        if network.is_loaded:
            kept = tuple(layer for layer in network.new_layers if layer.startswith("trunk."))
            self.new_layers = (*kept, "branch_a", "branch_b")
            self.is_loaded = True

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        map_BChw = self.branch_a(self._seen(features_BKhw))
        return ClassifierOutput(map_BChw.mean((2, 3)), features_BKhw, {"map_BChw": map_BChw})

    def erased_map(self, output: ClassifierOutput, label_B: Tensor) -> Tensor:
        """Branch B's maps (B, C, h, w), where branch A's map of each image's label is erased from the features."""
        rows = torch.arange(len(label_B), device=label_B.device)
        bright_B1hw = unit_range(output.more["map_BChw"].detach()[rows, label_B])[:, None] >= self.threshold
        # As branch A, which the network runs in float32: the loss is made under the trainer's precision.
        with torch.autocast(label_B.device.type, enabled=False):
            return self.branch_b(self._seen(output.features_BKhw).masked_fill(bright_B1hw, 0))

    @torch.no_grad()
    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        """The larger of both branches' maps of each class, from 0 to 1."""
        rows = torch.arange(len(classes_BT), device=classes_BT.device)
        fused = []
        for class_B in classes_BT.T:
            first, second = output.more["map_BChw"], self.erased_map(output, class_B)
            fused.append(torch.maximum(*(unit_range(map_BChw[rows, class_B]) for map_BChw in (first, second))))
        return torch.stack(fused, dim=1)

    def _seen(self, features_BKhw: Tensor) -> Tensor:
        return F.avg_pool2d(features_BKhw, 3, stride=1, padding=1) if self.smooth else features_BKhw


def _until(trunk: nn.Module, last: str) -> nn.Sequential:
    """The trunk's layers up to and with the one of that name."""
    names = [name for name, _ in trunk.named_children()]
    if not isinstance(trunk, nn.Sequential) or last not in names:
        raise ValueError(f"method.network_part.last={last} is no layer of the trunk, which has {', '.join(names)}")
    kept = names[: names.index(last) + 1]
    return nn.Sequential(OrderedDict((name, trunk.get_submodule(name)) for name in kept))
