"""Grad-CAM: a layer's activations, weighed by what they do to a class's score."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.functional.cam import class_activation_map
from cam_lightning.functional.layer_shapes import require_fitting


def grad_cam(features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k α_k^c A_k with α_k^c the mean over the cells of ∂score_c/∂A_k; raw, not rectified.

    For a head of average pooling and one linear layer it is the class activation map divided by h·w, since there
    ∂score_c/∂A_k is w_k^c/(h·w) in each cell. Selvaraju et al. 2017, equations 1 and 2, without the ReLU of 2.
    Raises ValueError for shapes that do not fit.
    """
    require_fitting("grad_cam", features_BKhw, gradient_BTKhw)
    return class_activation_map(features_BKhw, gradient_BTKhw.mean((3, 4)))
