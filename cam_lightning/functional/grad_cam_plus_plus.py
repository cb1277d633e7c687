"""Grad-CAM++: gradients weighed cell by cell before they weigh the units."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.cam import class_activation_map
from cam_lightning.functional.layer_shapes import require_fitting


def grad_cam_plus_plus(features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k w_k A_k with w_k = Σ_ij α_ij ReLU(g_ij), g = ∂S/∂A_k and
    α_ij = g_ij² / (2 g_ij² + g_ij³ Σ_ab A_ab); raw, not rectified.

    Chattopadhay et al. 2018, equations 7 and 19, for Y = exp(S) with S the logit, whose factor exp(S) is the same
    for a whole map and is left out. Where g_ij > 0, the only cells that count, α_ij is 1 / (2 + g_ij Σ_ab A_ab), which
    does not underflow; it is 0 where that has no value. The equations suppose activations behind a ReLU: where their
    sum is negative α_ij may be too.

    grad-cam 1.5 adds 1e-6 to the denominator, which for an average-pooled head is more than g_ij² itself, so its α_ij
    is about 1e6 g_ij². torchcam 0.5 divides a copy (`alpha[mask].div_`), so its w_k is Σ_ij ReLU(g_ij)³.
    Raises ValueError for shapes that do not fit.
    """
    require_fitting("grad_cam_plus_plus", features_BKhw, gradient_BTKhw)
    sum_BTK11 = features_BKhw.sum((2, 3))[:, None, :, None, None]
    denominator_BTKhw = 2 + gradient_BTKhw * sum_BTK11
    alpha_BTKhw = torch.where(denominator_BTKhw == 0, 0, 1 / denominator_BTKhw)
    return class_activation_map(features_BKhw, (alpha_BTKhw * gradient_BTKhw.relu()).sum((3, 4)))
