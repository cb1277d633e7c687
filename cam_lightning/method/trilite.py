"""TriLite: three channels part a frozen trunk's cells into foreground, background and what is ambiguous."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import Batch, ClassifierOutput, Loss
from cam_lightning.method.beside_head import BesideHead
from cam_lightning.method.classification import Classification

TINY = 1e-6
"""Added to sums that are divided by, and within logarithms."""


class TriLite(Classification):
    """Cross entropies of the image and of its foreground, and −`alpha` · log(1 − p) of its background.

    Its network is a `ThreeChannels`; p is the label's probability by the background alone. `alpha` is 100 for CUB, 500
    for ILSVRC and 3 for OpenImages. Other options as `Classification`'s. Sabaghi et al. 2026 (CVPR);
    ariansabaghi/TriLite, train.py and configs. Raises ValueError for an `alpha` below 0.
    """

    def __init__(self, *args: Any, alpha: float = 100.0, **options: Any) -> None:
        if not alpha >= 0:
            raise ValueError(f"method.alpha is at least 0; got {alpha}")
        super().__init__(*args, **options)
        self.alpha = alpha

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        # In bfloat16 a probability near 1 would be 1.
        with torch.autocast(output.logits_BC.device.type, enabled=False):
            of_label_B1 = output.more["background_BC"].float().softmax(1).gather(1, batch.truth.label_B[:, None])
            foreground = output._replace(logits_BC=output.more["foreground_BC"])
            parts = {
                "classification": super().loss(output, batch).total,
                "foreground": super().loss(foreground, batch).total,
                "background": -self.alpha * torch.log(1 - of_label_B1 + TINY).mean(),
            }
        return Loss(parts["classification"] + parts["foreground"] + parts["background"], parts)


class ThreeChannels(BesideHead):
    """A network with three channels beside its head: a 3×3 convolution of the features, batch normalisation, softmax.

    They share every cell out to foreground, background and neither. The features' means weighed by the first two go,
    behind dropout, through one linear layer of their own. The foreground is the class activation map of every class.
    Classes are told apart by the network's own head, the mean of all patches; the released code has a linear layer on
    the class token there, and reads tokens before the trunk's last norm. Raises ValueError for a network without a
    trunk, for one whose features are a single cell, and for a dropout outside [0, 1).
    """

    map_unit = "share of foreground (0 to 1)"

    def __init__(self, network: TrunkNetwork, dropout: float = 0.5) -> None:
        if hasattr(network, "map_layer"):
            raise ValueError("method=trilite reads a map of patches, which this head has not: use backbone.head=mean")
        if not 0 <= dropout < 1:
            raise ValueError(f"method.network_part.dropout is a share in [0, 1); got {dropout}")
        super().__init__(network, "trilite")
        self.heads = (*self.heads, "part_classifier")
        convolution = nn.Conv2d(self.units, 3, 3, padding=1, bias=False)
        self.channels = nn.Sequential(convolution, nn.BatchNorm2d(3), nn.Softmax(1))
        self.dropout = nn.Dropout(dropout)
        self.part_classifier = nn.Linear(self.units, network.num_classes)
        self.keep_head(network, "channels", "part_classifier")

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        own = self.own_output(features_BKhw)
        share_B3hw = self.channels(features_BKhw)
        foreground_BC, background_BC = (
            self.part_classifier(self.dropout(weighed_mean(features_BKhw, share_B3hw[:, channel])))
            for channel in (0, 1)
        )
        more = {"share_B3hw": share_B3hw, "foreground_BC": foreground_BC, "background_BC": background_BC}
        return ClassifierOutput(own.logits_BC, features_BKhw, {**own.more, **more})

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        """The foreground, the same for every class."""
        return output.more["share_B3hw"].detach()[:, :1].expand(-1, classes_BT.shape[1], -1, -1)


def weighed_mean(features_BKhw: Tensor, weight_Bhw: Tensor) -> Tensor:
    """The mean (B, K) of the cells by their weights."""
    total_BK = (features_BKhw * weight_Bhw[:, None]).sum((2, 3))
    return total_BK / (weight_Bhw.sum((1, 2))[:, None] + TINY)
