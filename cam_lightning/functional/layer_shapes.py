"""What every map of a layer's activations and gradients asks of their shapes."""

from __future__ import annotations

from torch import Tensor


def require_fitting(name: str, features_BKhw: Tensor, gradient_BTKhw: Tensor) -> None:
    """Raises ValueError, with the function's name, for features and gradients that are not of one layer."""
    if (
        features_BKhw.ndim != 4
        or gradient_BTKhw.ndim != 5
        or gradient_BTKhw.shape[0] != features_BKhw.shape[0]
        or gradient_BTKhw.shape[2:] != features_BKhw.shape[1:]
    ):
        raise ValueError(
            f"{name} needs features (B, K, h, w) and their gradients (B, T, K, h, w); "
            f"got {tuple(features_BKhw.shape)} and {tuple(gradient_BTKhw.shape)}"
        )
