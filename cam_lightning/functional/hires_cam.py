"""HiResCAM: activations times gradients, cell by cell."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.functional.layer_shapes import require_fitting


def hires_cam(features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k g_k ⊙ A_k with g = ∂score/∂A_k, not averaged over the cells; raw, not rectified.

    Draelos and Carin 2020. For a head of average pooling and one linear layer it is the class activation
    map divided by h·w; for any head that is linear in the cells, as one fully connected layer, its sum plus the bias
    is the logit. Raises ValueError for shapes that do not fit.
    """
    require_fitting("hires_cam", features_BKhw, gradient_BTKhw)
    return (gradient_BTKhw * features_BKhw[:, None]).sum(2)
