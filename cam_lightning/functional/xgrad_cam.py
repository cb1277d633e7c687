"""XGrad-CAM: a unit's gradient, averaged where the unit is active."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.cam import class_activation_map
from cam_lightning.functional.layer_shapes import require_fitting


def xgrad_cam(features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k α_k A_k with α_k = Σ_ij A_ij g_ij / Σ_ij A_ij, g = ∂score/∂A_k; raw, not rectified.

    Fu et al. 2020. A unit whose activations sum to 0 has weight 0. The paper's units lie behind a ReLU;
    of others the sum may be near 0 and the weight large. grad-cam 1.5 and torchcam 0.5 add 1e-7 and 1e-8 to the sum.
    Raises ValueError for shapes that do not fit.
    """
    require_fitting("xgrad_cam", features_BKhw, gradient_BTKhw)
    sum_B1K = features_BKhw.sum((2, 3))[:, None]
    weighed_BTK = (gradient_BTKhw * features_BKhw[:, None]).sum((3, 4))
    return class_activation_map(features_BKhw, torch.where(sum_B1K == 0, 0, weighed_BTK / sum_B1K))
