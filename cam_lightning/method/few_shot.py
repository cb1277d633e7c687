"""Few-shot: the same backbone, taught by the masks or boxes of a few images what is object and what is not."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import Batch, ClassifierOutput, Loss
from cam_lightning.method.beside_head import BesideHead
from cam_lightning.method.classification import Classification

log = logging.getLogger(__name__)

OBJECT, IGNORED = 1, 255


class FewShot(Classification):
    """Binary cross entropy of one saliency map with what is known of the object; options as `Classification`'s.

    Its network is a `SaliencyMap`. The target of a cell is the share of object among its known pixels, and a cell
    weighs by the share of known ones: of the image's mask, or, where it has none, of its boxes, inside of which all is
    object. This is the line that a method of labels alone must reach: Choe et al. 2020 (CVPR) and 2022 (TPAMI) train
    such a network on `train-fullsup` (64.0 on ILSVRC, 80.2 on CUB, 71.5 on OpenImages, means over three backbones),
    and never released it; the head, one 1×1 convolution, and the box as a mask are as the paper says in words.

    Its classifier learns from the same images' labels on features that it cannot change, so that there are top-1 errors
    too; in the paper there is none, and GT-known localization alone. Raises ValueError in training where no image of a
    batch has a mask or a box.
    """

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and data is not None:
            examples = data.examples["train"]
            examples.has_targets = True
            log.info("boxes or masks of %s images teach the network", f"{len(examples):,}")

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        if batch.truth.mask_BHW is None:
            raise ValueError("method=few_shot learns from masks or boxes of its training images, and is given none")
        logit_B1hw = output.more["saliency_B1hw"]
        target_B1hw, weight_B1hw = cell_targets(batch.truth.mask_BHW, (logit_B1hw.shape[2], logit_B1hw.shape[3]))
        total = weight_B1hw.sum()
        if not total > 0:
            raise ValueError(
                "no image of this batch has a mask or a box, and method=few_shot learns from nothing else: give data "
                "whose training images have some (dataset.train_on=fullsup)"
            )
        entropy_B1hw = F.binary_cross_entropy_with_logits(logit_B1hw, target_B1hw, reduction="none")
        parts = {
            "classification": super().loss(output, batch).total,
            "saliency": (weight_B1hw * entropy_B1hw).sum() / total,
        }
        return Loss(parts["classification"] + parts["saliency"], parts)


def cell_targets(mask_BHW: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The share of object among each cell's known pixels, and the share of known ones: (B, 1, h, w) both, float32.

    Masks are 1 object, 0 background, 255 unknown. A cell of which nothing is known has target and weight 0.
    """
    known_B1HW = (mask_BHW != IGNORED).float()[:, None]
    object_B1HW = (mask_BHW == OBJECT).float()[:, None]
    weight_B1hw = F.adaptive_avg_pool2d(known_B1HW, size)
    # Of all pixels both; the number of them goes out.
    return F.adaptive_avg_pool2d(object_B1HW, size) / weight_B1hw.clamp(min=1e-6), weight_B1hw


class SaliencyMap(BesideHead):
    """A network with one map beside its head: a 1×1 convolution of the features, whose sigmoid is the map of any class.

    The head reads the features as they are, and changes nothing of them. Raises ValueError for a network without a
    trunk.
    """

    map_unit = "probability of the object"

    def __init__(self, network: TrunkNetwork) -> None:
        super().__init__(network, "few_shot")
        self.saliency = nn.Conv2d(self.units, 1, 1)
        self.keep_head(network, "saliency")

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        own = self.own_output(features_BKhw.detach())
        return ClassifierOutput(
            own.logits_BC, features_BKhw, {**own.more, "saliency_B1hw": self.saliency(features_BKhw)}
        )

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        map_B1hw = torch.sigmoid(output.more["saliency_B1hw"].detach())
        return map_B1hw.expand(-1, classes_BT.shape[1], -1, -1)
