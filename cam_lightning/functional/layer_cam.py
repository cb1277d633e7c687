"""LayerCAM: activations weighed cell by cell by their positive gradients, and maps of several layers fused."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.layer_shapes import require_fitting
from cam_lightning.functional.map_sizes import at_the_finest


def layer_cam(features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k ReLU(g_k) A_k, cell by cell, g = ∂score/∂A_k; raw, not rectified.

    Jiang et al. 2021, without the ReLU behind the sum, which changes nothing behind a ReLU.
    Raises ValueError for shapes that do not fit.
    """
    require_fitting("layer_cam", features_BKhw, gradient_BTKhw)
    return (gradient_BTKhw.relu() * features_BKhw[:, None]).sum(2)


def fused(maps: list[Tensor], gamma: float) -> Tensor:
    """Maps (B, T, h, w) of several layers, the deepest last, as one: the largest, cell by cell, at the finest size.

    Each is rectified and divided by its maximum; all but the deepest become tanh(γ·map), which lifts the small
    values of shallow layers. In [0, 1]. Jiang et al. 2021, equation 9 (γ = 2 there). torchcam 0.5 raises the deepest
    too; grad-cam 1.5 has the mean of the layers' maps in place of the largest.
    """
    shares = [map_BThw.relu() for map_BThw in maps]
    shares = [share / share.amax((2, 3), keepdim=True).clamp(min=torch.finfo(share.dtype).tiny) for share in shares]
    raised = [*(torch.tanh(gamma * share) for share in shares[:-1]), shares[-1]]
    return torch.stack(at_the_finest(raised)).amax(0)
