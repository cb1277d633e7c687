"""PC1: the first principal component over the cells of a layer's units, in place of the classifier's sum."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.layer_shapes import require_fitting
from cam_lightning.functional.principal_component import first_component


def pc1(features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
    """Maps (B, T, h, w): the first principal axis of K units as points in h·w dimensions, divided by its maximum.

    Yasuki and Taki 2024 (CAM Back Again), as released (`utils.py`): a unit is weighed by the classifier's row (here by
    its mean gradient, which for average pooling is that row / (h·w)), then brought to 0..1 by its own least and
    greatest value, so that the weight's sign alone remains; units are centred cell by cell; the axis's cell of the
    largest magnitude is 1. Where more than half of the image's frame, the outermost cells, lies above the axis's mean,
    the axis shows the background and the map is 1 − axis. A constant unit is 0 everywhere, where the released code
    divides by 0; the released frame is two cells wide on the right and at the bottom, and counted as if it were one.
    Raises ValueError for shapes that do not fit.
    """
    require_fitting("pc1", features_BKhw, gradient_BTKhw)
    B, T, _, h, w = gradient_BTKhw.shape
    unit_BTKhw = features_BKhw[:, None] * gradient_BTKhw.mean((3, 4), keepdim=True).sign()
    low, high = unit_BTKhw.amin((3, 4), keepdim=True), unit_BTKhw.amax((3, 4), keepdim=True)
    unit_BTKhw = torch.where(high == low, 0, (unit_BTKhw - low) / (high - low))
    unit_BTKhw = unit_BTKhw - unit_BTKhw.mean(2, keepdim=True)
    axis_Nhw, _ = first_component(unit_BTKhw.flatten(0, 1))
    peak_N11 = axis_Nhw.abs().amax((1, 2), keepdim=True)
    axis_Nhw = torch.where(peak_N11 == 0, 0, axis_Nhw / peak_N11)
    frame_hw = torch.ones(h, w, dtype=torch.bool, device=axis_Nhw.device)
    frame_hw[1 : h - 1, 1 : w - 1] = False
    bright_Nhw = axis_Nhw > axis_Nhw.mean((1, 2), keepdim=True)
    is_background_N = bright_Nhw[:, frame_hw].double().mean(1) > 0.5
    return torch.where(is_background_N[:, None, None], 1 - axis_Nhw, axis_Nhw).float().unflatten(0, (B, T))
