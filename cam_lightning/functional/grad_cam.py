"""Grad-CAM: a layer's activations, weighed by what they do to a class's score."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.functional.cam import class_activation_map


def grad_cam(features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k α_k^c A_k with α_k^c the mean over the cells of ∂score_c/∂A_k; raw, not rectified.

    For a head of average pooling and one linear layer it is the class activation map divided by h·w, since there
    ∂score_c/∂A_k is w_k^c/(h·w) in each cell. Selvaraju et al. 2017, equations 1 and 2, without the ReLU of 2.
    Raises ValueError for shapes that do not fit.
    """
    if gradient_BTKhw.ndim != 5 or gradient_BTKhw.shape[2:] != features_BKhw.shape[1:]:
        raise ValueError(
            "grad_cam needs features (B, K, h, w) and their gradients (B, T, K, h, w); "
            f"got {tuple(features_BKhw.shape)} and {tuple(gradient_BTKhw.shape)}"
        )
    return class_activation_map(features_BKhw, gradient_BTKhw.mean((3, 4)))
