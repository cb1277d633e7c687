"""Ablation-CAM: units weighed by what a score loses without each; no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.cam import class_activation_map


def ablation_cam(features_BKhw: Tensor, score_BT: Tensor, ablated_BTK: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k w_k A_k with w_k = (y − y_k) / |y|, y_k the score with unit k set to 0; raw.

    Desai and Ramaswamy 2020, equations 2 and 3, which divide by y, a score that they suppose to be positive: where it
    is negative that would turn the map around, as it does in grad-cam 1.5. A score of 0 is not divided by. grad-cam
    also sets units of layers that are somewhere negative to −1e7 in place of 0.
    """
    size_BT1 = score_BT.abs()[..., None]
    lost_BTK = score_BT[..., None] - ablated_BTK
    return class_activation_map(features_BKhw, lost_BTK / torch.where(size_BT1 == 0, 1, size_BT1))
