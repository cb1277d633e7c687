"""The first principal component of a layer's units, as a map: one sign, whatever the machine."""

from __future__ import annotations

import torch
from torch import Tensor


def first_component(values_BKhw: Tensor) -> tuple[Tensor, Tensor]:
    """Of K values in h·w cells, the first left singular vector over the cells (B, h, w) and its singular value (B).

    Float64, from the eigenvectors of the smaller of the two matrices of products. A singular vector has no sign of its
    own: here the cell of the largest magnitude is positive (as equation 13 of Seg-Eigen-CAM, Chung and Ying 2025).
    Where all values are 0 so is the map; where one is not finite it is NaN.
    """
    h, w = values_BKhw.shape[2:]
    scale_B11 = values_BKhw.flatten(2).abs().amax((1, 2))[:, None, None].double()
    finite_B11 = scale_B11.isfinite()
    if not finite_B11.all():
        values_BKhw = torch.where(finite_B11[..., None], values_BKhw, 0)
    # Products of float32's smallest values would vanish.
    factor_B11 = torch.where(finite_B11 & (scale_B11 > 0), 1 / scale_B11, 0)
    values_BKn = values_BKhw.flatten(2).double() * factor_B11
    if values_BKn.shape[1] < h * w:
        vector_BKn = torch.linalg.eigh(values_BKn @ values_BKn.mT).eigenvectors[:, None, :, -1]
        projected_Bn = (vector_BKn @ values_BKn)[:, 0]
    else:
        vector_Bn = torch.linalg.eigh(values_BKn.mT @ values_BKn).eigenvectors[:, :, -1]
        size_BK1 = values_BKn @ vector_Bn[..., None]
        projected_Bn = vector_Bn * size_BK1.norm(dim=1)
    peak_B1 = projected_Bn.gather(1, projected_Bn.abs().argmax(1, keepdim=True))
    projected_Bn = projected_Bn * torch.where(peak_B1 < 0, -1.0, 1.0)
    length_B1 = projected_Bn.norm(dim=1, keepdim=True)
    unit_Bn = torch.where(length_B1 == 0, 0, projected_Bn / length_B1)
    unit_Bn = torch.where(finite_B11[:, 0], unit_Bn, torch.nan)
    return unit_Bn.unflatten(1, (h, w)), (length_B1 * scale_B11[:, 0])[:, 0]
