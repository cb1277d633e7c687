"""Element-wise Grad-CAM: the positive products of activations and gradients."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.functional.layer_shapes import require_fitting


def grad_cam_elementwise(features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k ReLU(g_k ⊙ A_k) with g = ∂score/∂A_k; never negative.

    As HiResCAM, but what speaks against the class is left out unit by unit. Pillai and Pirsiavash 2021, who name it
    as their baseline; `GradCAMElementWise` of grad-cam. Raises ValueError for shapes that do not fit.
    """
    require_fitting("grad_cam_elementwise", features_BKhw, gradient_BTKhw)
    return (gradient_BTKhw * features_BKhw[:, None]).relu().sum(2)
