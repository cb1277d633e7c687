"""Backpropagation to the image: how much each pixel can change a class's score."""

from __future__ import annotations

from torch import Tensor


def backprop(gradient_BT3HW: Tensor) -> Tensor:
    """Maps (B, T, H, W): the largest absolute value over the colours of ∂score/∂image.

    Simonyan et al. 2014, section 3.1. Raises ValueError for other shapes.
    """
    if gradient_BT3HW.ndim != 5 or gradient_BT3HW.shape[2] != 3:
        raise ValueError(f"backprop needs gradients (B, T, 3, H, W); got {tuple(gradient_BT3HW.shape)}")
    return gradient_BT3HW.abs().amax(2)
