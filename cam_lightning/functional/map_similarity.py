"""How alike two maps are: rank correlation and structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def rank_correlation(a_Shw: Tensor, b_Shw: Tensor) -> Tensor:
    """Spearman's correlation (S,), float64, of the cells of two maps; equal values share the mean of their ranks.

    Of two constant maps 1, since nothing differs; of one constant map 0.
    """
    rank_a_SP, rank_b_SP = _ranks(a_Shw.flatten(1)), _ranks(b_Shw.flatten(1))
    spread_S = (rank_a_SP.square().sum(1) * rank_b_SP.square().sum(1)).sqrt()
    correlation_S = (rank_a_SP * rank_b_SP).sum(1) / torch.where(spread_S > 0, spread_S, torch.ones_like(spread_S))
    both_flat_S = (rank_a_SP == 0).all(1) & (rank_b_SP == 0).all(1)
    finite_S = a_Shw.flatten(1).isfinite().all(1) & b_Shw.flatten(1).isfinite().all(1)
    correlation_S = torch.where(both_flat_S, torch.ones_like(correlation_S), correlation_S)
    return torch.where(finite_S, correlation_S, torch.full_like(correlation_S, torch.nan))


def _ranks(value_SP: Tensor) -> Tensor:
    """Ranks less their mean, float64; ties have their mean: half of (how many are below + how many are not above)."""
    value_SP = value_SP.double().contiguous()
    sorted_SP = value_SP.sort(1).values
    below_SP = torch.searchsorted(sorted_SP, value_SP)
    not_above_SP = torch.searchsorted(sorted_SP, value_SP, right=True)
    return (below_SP + not_above_SP).double() / 2 - value_SP.shape[1] / 2


def structural_similarity(a_SHW: Tensor, b_SHW: Tensor, size: int = 11, sigma: float = 1.5) -> Tensor:
    """The mean SSIM (S,), float64, of maps in 0..1, over windows that lie within the map.

    Wang et al. 2004, section III.B, with its Gaussian window of 11×11 and sigma 1.5, K1 = 0.01 and K2 = 0.03; of a
    smaller map the window is its largest odd side.
    """
    H, W = a_SHW.shape[1:]
    size = min(size, H - 1 + H % 2, W - 1 + W % 2)
    offset = torch.arange(size, dtype=torch.float64) - size // 2
    weight = torch.exp(-0.5 * (offset / sigma) ** 2)
    weight = weight / weight.sum()
    kernel_11kk = torch.outer(weight, weight)[None, None]

    def mean(value_SHW: Tensor) -> Tensor:
        return F.conv2d(value_SHW[:, None], kernel_11kk)[:, 0]

    a_SHW, b_SHW = a_SHW.double(), b_SHW.double()
    mean_a, mean_b = mean(a_SHW), mean(b_SHW)
    variance_a, variance_b = mean(a_SHW.square()) - mean_a.square(), mean(b_SHW.square()) - mean_b.square()
    covariance = mean(a_SHW * b_SHW) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a.square() + mean_b.square() + c1) * (variance_a + variance_b + c2)
    return (above / below).mean((1, 2))
