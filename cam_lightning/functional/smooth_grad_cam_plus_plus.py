"""Smooth Grad-CAM++: Grad-CAM++ with derivatives averaged over noisy images."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.cam import class_activation_map
from cam_lightning.functional.layer_shapes import require_fitting


def smooth_grad_cam_plus_plus(features_BKhw: Tensor, gradient_SBTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k w_k A_k with w_k = Σ_ij α_ij ReLU(D1_ij), from the gradients of S noisy images.

    D1, D2, D3 are the means over them of g, g², g³, and α_ij = D2_ij / (2 D2_ij + D3_ij Σ_ab A_ab), 0 where that has
    no value; `features_BKhw` are the clean image's. Omeiza et al. 2019, with the second derivative in the numerator,
    as in Grad-CAM++, where the paper prints the first: so that one image without noise is Grad-CAM++. Raw, not
    rectified.

    torchcam 0.5 has Σ_ab A_ab D3_ab in place of D3_ij Σ_ab A_ab, and the last noisy image's gradient in place of D1.
    Raises ValueError for shapes that do not fit.
    """
    for gradient_BTKhw in gradient_SBTKhw:
        require_fitting("smooth_grad_cam_plus_plus", features_BKhw, gradient_BTKhw)
    # Squares and cubes of an average-pooled head's gradients would leave float32's range: of it only ratios matter.
    scale_BT111 = gradient_SBTKhw.abs().amax((0, 3, 4, 5))[..., None, None, None].clamp(min=1e-30)
    scaled_SBTKhw = gradient_SBTKhw / scale_BT111
    first_BTKhw, second_BTKhw, third_BTKhw = (scaled_SBTKhw.pow(power).mean(0) for power in (1, 2, 3))
    sum_BTK11 = features_BKhw.sum((2, 3))[:, None, :, None, None]
    denominator_BTKhw = 2 * second_BTKhw + third_BTKhw * scale_BT111 * sum_BTK11
    alpha_BTKhw = torch.where(denominator_BTKhw == 0, 0, second_BTKhw / denominator_BTKhw)
    return class_activation_map(features_BKhw, (alpha_BTKhw * first_BTKhw.relu() * scale_BT111).sum((3, 4)))
