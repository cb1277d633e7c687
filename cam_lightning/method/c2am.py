"""C2AM: one map for all classes, that parts each image's features into two kinds which differ between, not within."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import Batch, ClassifierOutput, Loss
from cam_lightning.method.beside_head import BesideHead
from cam_lightning.method.classification import Classification

LEAST, MOST = 0.0005, 0.9995
"""Cosines are cut there before their logarithms, as in the released code."""


class C2am(Classification):
    """Cross entropy, and a contrast of foreground with background; options as `Classification`'s.

    Its network is a `ClassAgnosticMap` P. Of each image, with n cells, the foreground is f = Σ P·F / n, the background
    b = Σ (1 − P)·F / n, and s are cosines between two images of a batch, or an image and itself:

        background   mean of w_ij · −log s(b_i, b_j): backgrounds alike
        foreground   mean of w_ij · −log s(f_i, f_j): foregrounds alike
        apart        mean of −log(1 − s(b_i, f_j)): the two unlike

    w_ij = exp(−`alpha` · rank), the rank of j among the cosines of i. Xie et al. 2022 (CVPR), section 3;
    CVI-SZU/CCAM, WSOL/models. There the rank counts from −1, the image itself, so its own neighbour weighs 1, and
    `alpha` is 0.05 for CUB, 0.25 by itself, as here. The paper trains the contrast alone, the classifier apart; here
    both share a trunk, and `contrast_weight` weighs the three. It needs features that differ between cells: where the
    cosine of foreground and background is above 0.9995 it is cut and teaches nothing, as from scratch behind the
    released CAM_conv, whose bias of 1 holds every unit on. Raises ValueError for weights below 0.
    """

    def __init__(self, *args: Any, alpha: float = 0.25, contrast_weight: float = 1.0, **options: Any) -> None:
        for name, value in {"alpha": alpha, "contrast_weight": contrast_weight}.items():
            if not value >= 0:
                raise ValueError(f"method.{name} is at least 0; got {value}")
        super().__init__(*args, **options)
        self.alpha = alpha
        self.contrast_weight = contrast_weight

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        # In bfloat16 cosines near 1 would all be 1.
        with torch.autocast(output.logits_BC.device.type, enabled=False):
            foreground_BK, background_BK = parted(output.features_BKhw, output.more["map_B1hw"])
            parts = {
                "classification": super().loss(output, batch).total,
                "background": self.contrast_weight * alike(background_BK, self.alpha),
                "foreground": self.contrast_weight * alike(foreground_BK, self.alpha),
                "apart": self.contrast_weight * -torch.log(1 - cosines(background_BK, foreground_BK)).mean(),
            }
        return Loss(sum(parts.values(), torch.zeros((), device=output.logits_BC.device)), parts)


def parted(features_BKhw: Tensor, map_B1hw: Tensor) -> tuple[Tensor, Tensor]:
    """The features' mean where the map is, and where it is not: (B, K) both."""
    return (features_BKhw * map_B1hw).mean((2, 3)), (features_BKhw * (1 - map_B1hw)).mean((2, 3))


def cosines(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """The cosine of every row of the first with every row of the second, cut away from 0 and 1: (B, B)."""
    return (F.normalize(first_BK) @ F.normalize(second_BK).T).clamp(LEAST, MOST)


def alike(embedding_BK: Tensor, alpha: float) -> Tensor:
    """The mean of −log cosine over all pairs, each weighed by its rank: nearest neighbours most."""
    cosine_BB = cosines(embedding_BK, embedding_BK)
    rank_BB = cosine_BB.detach().argsort(dim=1, descending=True, stable=True).argsort(dim=1) - 1
    return (-cosine_BB.log() * torch.exp(-alpha * rank_BB)).mean()


class ClassAgnosticMap(BesideHead):
    """A network with one map beside its head: a 3×3 convolution of the features, batch normalisation, a sigmoid.

    It is the class activation map of every class. Nothing in the losses says which side of it is the object: as in the
    released code, what lies at the images' borders is background, so where most of the borders' cells were above a
    half in training, on a running mean, the map is turned over. The code looks at the first image of the first epoch's
    last batch. Raises ValueError for a network without a trunk.
    """

    map_unit = "share of foreground (0 to 1)"

    def __init__(self, network: TrunkNetwork) -> None:
        super().__init__(network, "c2am")
        convolution = nn.Conv2d(self.units, 1, 3, padding=1, bias=False)
        self.foreground = nn.Sequential(convolution, nn.BatchNorm2d(1), nn.Sigmoid())
        self.register_buffer("border", torch.tensor(0.0))
        self.border: Tensor
        self.keep_head(network, "foreground")

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        own = self.own_output(features_BKhw)
        map_B1hw = self.foreground(features_BKhw)
        if self.training:
            self.border.lerp_(border_share(map_B1hw.detach()), 0.1)
        return ClassifierOutput(own.logits_BC, features_BKhw, {**own.more, "map_B1hw": map_B1hw})

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        map_B1hw = output.more["map_B1hw"].detach()
        turned_B1hw = torch.where(self.border > 0.5, 1 - map_B1hw, map_B1hw)
        return turned_B1hw.expand(-1, classes_BT.shape[1], -1, -1)


def border_share(map_B1hw: Tensor) -> Tensor:
    """The mean over the four edges, of the share of their cells above a half."""
    high_B1hw = (map_B1hw > 0.5).float()
    edges = (high_B1hw[:, :, 0], high_B1hw[:, :, -1], high_B1hw[:, :, :, 0], high_B1hw[:, :, :, -1])
    return torch.stack([edge.mean() for edge in edges]).mean()
