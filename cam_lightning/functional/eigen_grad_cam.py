"""Eigen-Grad-CAM: the first principal component of activations times gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.eigen_cam import eigen_cam
from cam_lightning.functional.layer_shapes import require_fitting


def eigen_grad_cam(features_BKhw: Tensor, gradient_BTKhw: Tensor, centre: bool = False) -> Tensor:
    """Maps (B, T, h, w): as `eigen_cam`, of g ⊙ A with g = ∂score/∂A in place of A; raw.

    `EigenGradCAM` of grad-cam, which centres, and leaves the sign as the decomposition has it. Here the map's cells
    agree with Σ_k g_k ⊙ A_k (HiResCAM): their product, summed over the cells, is not negative, so that positive speaks
    for the class. Raises ValueError for shapes that do not fit.
    """
    require_fitting("eigen_grad_cam", features_BKhw, gradient_BTKhw)
    T = gradient_BTKhw.shape[1]
    product_BTKhw = gradient_BTKhw * features_BKhw[:, None]
    map_BThw = eigen_cam(product_BTKhw.flatten(0, 1), centre)[:, 0].unflatten(0, (-1, T))
    evidence_BThw = product_BTKhw.sum(2)
    agreement_BT11 = (map_BThw.double() * evidence_BThw.double()).sum((2, 3), keepdim=True)
    return map_BThw * torch.where(agreement_BT11 < 0, -1.0, 1.0)
