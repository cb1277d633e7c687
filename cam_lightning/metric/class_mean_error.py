"""The classification error of an average class, which is often reported where classes differ in size."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.contracts import Spec
from cam_lightning.functional.ranking import ranked_classes
from cam_lightning.metric.counter import CounterMetric


class ClassMeanError(CounterMetric):
    """The mean over classes of the share of a class's images whose best class is another; of classes that have some."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(hits_C=(num_classes,), num_images_C=(num_classes,))

    def update(self, logits_BC: Tensor, label_B: Tensor) -> None:
        """Counts one batch of logits (B, C) and labels (B,)."""
        num_classes = len(self.counters()["hits_C"])
        hit_B = ranked_classes(logits_BC.detach())[:, 0] == label_B
        self.add("hits_C", torch.bincount(label_B[hit_B], minlength=num_classes))
        self.add("num_images_C", torch.bincount(label_B, minlength=num_classes))

    def compute(self) -> dict[str, float]:
        """`classification_error/class_mean`, a fraction; raises ValueError where nothing was counted."""
        counters = self.counters()
        known_C = counters["num_images_C"] > 0
        if not known_C.any():
            raise ValueError("no image was counted, so there is no error rate")
        accuracy = counters["hits_C"][known_C].double() / counters["num_images_C"][known_C]
        return {"classification_error/class_mean": float(1 - accuracy.mean())}

    def specs(self) -> dict[str, Spec]:
        return {
            "classification_error/class_mean": Spec(
                "classification error, top-1, mean over classes",
                family="classification error",
                headline=42,
                label="mean over classes",
            )
        }
