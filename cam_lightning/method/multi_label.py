"""Images that show several classes at once: one yes or no for every class, by a sigmoid each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cam_lightning.contracts import CLASS_NOT_KNOWN, Batch, ClassifierOutput, GroundTruth, Loss
from cam_lightning.method.classification import Classification


class MultiLabel(Classification):
    """Logistic regression of every class by itself, on the classes that each image shows; options as `Method`'s.

    Oquab et al. 2015 (CVPR), section 3: ℓ(f, y) = Σ_k log(1 + exp(−y_k·f_k)), where y_k is 1 for a class that the image
    shows and −1 for another. Here it is the mean over images and classes, as in the released code of WILDCAT (Durand et
    al. 2017; torch's `MultiLabelSoftMarginLoss`), so that a learning rate does not depend on the number of classes C:
    one for the sum is C times that here. A class of which it is not known whether an image shows it has no part in the
    mean. Where a dataset has one label an image, that one holds and no other.

    `label_smoothing` s makes the targets 1 − s/2 and s/2. `val` and `test` losses are of the same kind, without it, and
    so not to be compared with a softmax's.
    """

    learns_several_classes = True

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        loss_BC, known_BC = _terms(output.logits_BC, batch.truth, self.label_smoothing)
        return Loss(loss_BC.sum() / known_BC.sum().clamp(min=1))

    def evaluation_loss(self, output: ClassifierOutput, truth: GroundTruth) -> Tensor:
        loss_BC, known_BC = _terms(output.logits_BC, truth)
        return loss_BC.sum(1) / known_BC.sum(1).clamp(min=1)


def independent_classes(network: Any) -> Any:
    """The network, which from now on says that its logits answer for one class each (`contracts.Network`)."""
    network.independent_classes = True
    return network


def _terms(logits_BC: Tensor, truth: GroundTruth, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """(B, C): the loss of each image and class, 0 where it is not known; and whether it is known."""
    classes_BC = truth.classes_BC
    if classes_BC is None:
        classes_BC = F.one_hot(truth.label_B, logits_BC.shape[1])
    known_BC = classes_BC != CLASS_NOT_KNOWN
    target_BC = (classes_BC == 1).float() * (1 - smoothing) + smoothing / 2
    each_BC = F.binary_cross_entropy_with_logits(logits_BC.float(), target_BC, reduction="none")
    return torch.where(known_BC, each_BC, 0.0), known_BC
