"""What logits say in probabilities: of classes that exclude each other, or of each class by itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def class_probabilities(network: Any, logits_BC: Tensor) -> Tensor:
    """float32 (B, C): the softmax over the classes, or of a network with `independent_classes` every logit's sigmoid.

    Both rank the classes of an image as the logits do. Sigmoids do not add up to one.
    """
    logits_BC = logits_BC.float()
    return logits_BC.sigmoid() if getattr(network, "independent_classes", False) else logits_BC.softmax(1)
