"""PSOL: a second network learns to say one box, whatever the class, from pseudo boxes; the classifier stays apart."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import Batch, ClassifierOutput, Loss
from cam_lightning.functional.largest_component import largest_component_boxes
from cam_lightning.functional.post_processing import PostProcessing
from cam_lightning.method.classification import Classification
from cam_lightning.method.trunk_layer import layer_shapes, require_trunk

TWIN = "trunk.regressor."
"""Where the layers of the second trunk are."""


class Psol(Classification):
    """Cross entropy of the classifier, and the squared error of the other network's box; options as `Classification`'s.

    Its network is a `BoxRegressor`. A box is x, y, width and height as shares of the image; the error is the mean over
    the four and the batch, times `box_weight`. The pseudo box of a training image, as the network sees it cut and
    turned, is that of the largest component of its label's class activation map above `threshold`, `normalise` as in
    `box=largest_component`; it is not differentiated, and no true box is read.

    Zhang, Cao and Wu 2020 (CVPR), section 3; tzzcl/PSOL, PSOL_training.py (mean squared error, times 50). The paper's
    best pseudo boxes come from DDT, of all images of a class at once; those of CAM are among the others that it
    compares. It trains both networks one after the other: for boxes of a classifier that is finished, give
    `backbone.weights` and `network_part.frozen=true`. Raises ValueError for other options than these, and before
    training for a frozen classifier that weights do not cover.
    """

    def __init__(
        self, *args: Any, box_weight: float = 50.0, threshold: float = 0.2, normalise: str = "max", **options: Any
    ) -> None:
        if not box_weight >= 0:
            raise ValueError(f"method.box_weight is at least 0; got {box_weight}")
        rule = PostProcessing(normalise=normalise, where="method.")
        rule.check_threshold(threshold, where="method.")
        super().__init__(*args, **options)
        self.box_weight = box_weight
        self.threshold = threshold
        self.rule = rule

    def on_fit_start(self) -> None:
        network: BoxRegressor = self.network  # type: ignore[assignment]
        chance = [layer for layer in network.new_layers if layer != "box" and not layer.startswith(TWIN)]
        if network.frozen and (chance or not network.is_loaded):
            raise ValueError(
                "method.network_part.frozen=true keeps the classifier as backbone.weights has it, "
                f"and {', '.join(chance) or 'all of it'} would stay at chance: give the weights of a trained network"
            )
        super().on_fit_start()

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        network: BoxRegressor = self.network  # type: ignore[assignment]
        height, width = batch.image_B3HW.shape[2:]
        map_B1hw = network.classifier_maps(output, batch.truth.label_B[:, None])
        pseudo_B4 = self.pseudo_boxes(map_B1hw[:, 0], (height, width)).to(output.logits_BC.device)
        parts = {
            "classification": super().loss(output, batch).total,
            "box": self.box_weight * F.mse_loss(output.more["box_B4"], pseudo_B4),
        }
        if network.frozen:
            return Loss(parts["box"], parts)
        return Loss(parts["classification"] + parts["box"], parts)

    def pseudo_boxes(self, map_Bhw: Tensor, size: tuple[int, int]) -> Tensor:
        """x, y, width and height (B, 4) as shares of an image of that height and width; the whole where none is."""
        map_Bhw = map_Bhw.detach().float().cpu()
        size_B2 = torch.tensor([size]).expand(len(map_Bhw), 2).numpy()
        box_B4, _ = largest_component_boxes(map_Bhw.numpy(), size_B2, self.threshold, self.rule)
        share_B4 = torch.from_numpy(box_B4) / torch.tensor([size[1], size[0]] * 2)
        return torch.cat([share_B4[:, :2], share_B4[:, 2:] - share_B4[:, :2]], 1)


class BoxRegressor(TrunkNetwork):
    """A network with a twin of its trunk, behind which averages, two linear layers and a sigmoid give one box.

    The classifier is the network itself. What it calls features are those of both trunks, the classifier's first. The
    map of any class is the box: for each cell, `cells` times finer than the features, the share of it that the box
    covers, so that every threshold, box and metric sees it; a box of the whole image is a constant map, which the rule
    counts as naming no region, and boxes as the whole image. `units` of the first linear layer are 512 as released.

    `frozen` keeps the classifier as it was loaded, in evaluation mode. Raises ValueError for a network without a trunk,
    and no units or cells.
    """

    map_unit = "share of the cell within the box"
    trunk: _Twins

    def __init__(self, network: TrunkNetwork, units: int = 512, frozen: bool = False, cells: int = 16) -> None:
        require_trunk(network, "psol")
        for option, value in {"units": units, "cells": cells}.items():
            if value < 1:
                raise ValueError(f"method.network_part.{option} is at least 1; got {value}")
        super().__init__(_Twins(network.trunk), network.normalization, network.min_size, network.published)
        K = layer_shapes(network.trunk, network.min_size, [""])[""][0]
        self.heads = tuple(f"classifier.{head}" for head in network.heads)
        self.cells = cells
        self.frozen = frozen
        self.box = nn.Sequential(nn.Linear(K, units), nn.ReLU(), nn.Linear(units, 4), nn.Sigmoid())
        if network.is_loaded:
            twin = (
                f"{TWIN}{layer.removeprefix('trunk.')}" for layer in network.new_layers if layer.startswith("trunk.")
            )
            self.new_layers = (*(_renamed(layer) for layer in network.new_layers), *twin, "box")
            self.is_loaded = True
        self.classifier = network
        self.classifier.trunk = nn.Identity()
        if frozen:
            for part in (self.trunk.classifier, self.classifier):
                part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.trunk.classifier.eval()
            self.classifier.eval()
        return self

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        own_BKhw, twin_BKhw = features_BKhw.chunk(2, dim=1)
        own = self.classifier.head(self.classifier.features(own_BKhw))
        return ClassifierOutput(own.logits_BC, features_BKhw, {**own.more, "box_B4": self.box(twin_BKhw.mean((2, 3)))})

    def classifier_maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        """The classifier's own class activation maps (B, T, h, w)."""
        # Features that are class maps are a layer's, and a loss is made under the trainer's precision.
        with torch.autocast(classes_BT.device.type, enabled=False):
            own_BKhw = self.classifier.features(output.features_BKhw.chunk(2, dim=1)[0]).detach()
        map_BThw = self.classifier.class_maps(output._replace(features_BKhw=own_BKhw), classes_BT)
        if map_BThw is None:
            raise ValueError("method=psol makes its pseudo boxes of class activation maps, and this backbone has none")
        return map_BThw

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        h, w = output.features_BKhw.shape[2:]
        map_BHW = covered(output.more["box_B4"].detach(), (h * self.cells, w * self.cells))
        return map_BHW[:, None].expand(-1, classes_BT.shape[1], -1, -1)


class _Twins(nn.Module):
    """Two trunks that start alike, their features one after the other."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.classifier = trunk
        self.regressor = copy.deepcopy(trunk)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        return torch.cat([self.classifier(x_B3HW), self.regressor(x_B3HW)], 1)


def _renamed(layer: str) -> str:
    """A layer's name of the network alone, where it is the classifier's."""
    if layer.startswith("trunk."):
        return f"trunk.classifier.{layer.removeprefix('trunk.')}"
    return f"classifier.{layer}"


def covered(box_B4: Tensor, size: Sequence[int]) -> Tensor:
    """How much of each cell a box covers, from 0 to 1: (B, *size), of x, y, width and height as shares of the image."""
    start_B2 = box_B4[:, :2]
    end_B2 = start_B2 + box_B4[:, 2:]
    columns_BW, rows_BH = (
        (torch.minimum(end_B2[:, [axis]] * cells, edge + 1) - torch.maximum(start_B2[:, [axis]] * cells, edge)).clamp(
            0, 1
        )
        for axis, cells in enumerate((size[1], size[0]))
        for edge in [torch.arange(cells, device=box_B4.device, dtype=box_B4.dtype)]
    )
    return rows_BH[:, :, None] * columns_BW[:, None, :]
