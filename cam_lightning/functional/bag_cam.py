"""BagCAMs: every cell's own classifier, and all of them averaged."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.layer_shapes import require_fitting


def bag_cam(features_BKhw: Tensor, gradient_BTKhw: Tensor, score_BT: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k ReLU((1 + mean(G_k ⊙ A_k)) · G_k ⊙ A_k) with G_k = ∂ log|score|/∂A_k; never negative.

    Zhu et al. 2022, as released (`libs/cams/bagcams.py`), whose maps are of layers in the middle, such as ResNet-50's
    third stage. Where the score is negative the released logarithm turns the map around; here |score| keeps its
    direction. The released code also rectifies the gradient at every ReLU on the way, which the paper's equations do
    not have. A score of 0 gives 0. Raises ValueError for shapes that do not fit.
    """
    require_fitting("bag_cam", features_BKhw, gradient_BTKhw)
    size_BT111 = score_BT.abs()[..., None, None, None]
    share_BTKhw = torch.where(size_BT111 == 0, 0, gradient_BTKhw * features_BKhw[:, None] / size_BT111)
    return ((1 + share_BTKhw.mean((3, 4), keepdim=True)) * share_BTKhw).relu().sum(2)
