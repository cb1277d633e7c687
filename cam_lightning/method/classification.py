"""Training on image labels alone: the paper's method."""

from __future__ import annotations

from typing import Any

from torch.nn import functional as F

from cam_lightning.contracts import Batch, ClassifierOutput, Loss
from cam_lightning.method.base import Method


class Classification(Method):
    """Softmax regression on the network's scores, by stochastic gradient descent; options as for `Method`.

    `label_smoothing` is the share of a training label that all classes get evenly (Szegedy et al. 2016, section 7);
    `val` and `test` losses are of the labels themselves.
    """

    def __init__(self, *args: Any, label_smoothing: float = 0.0, **options: Any) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"method.label_smoothing is a share of at least 0, and below 1; got {label_smoothing!r}")
        super().__init__(*args, **options)
        self.label_smoothing = label_smoothing

    def loss(self, output: ClassifierOutput, batch: Batch) -> Loss:
        target = batch.truth.label_B if batch.target_BC is None else batch.target_BC
        return Loss(F.cross_entropy(output.logits_BC, target, label_smoothing=self.label_smoothing))
