"""ADCC: average drop, coherency and complexity of a map in one number, as Poppi et al. 2021 define them."""

from __future__ import annotations

import torch
from torch import Tensor


def coherency(score_SHW: Tensor, again_SHW: Tensor) -> Tensor:
    """How alike a map and the map of the image that it leaves are, (S,), float64: (Pearson's correlation + 1) / 2.

    Of two constant maps 1, since nothing has changed; of one constant map 1/2, uncorrelated. Equation 5.
    """
    a_SP, b_SP = (each.double().flatten(1) for each in (score_SHW, again_SHW))
    a_SP, b_SP = a_SP - a_SP.mean(1, keepdim=True), b_SP - b_SP.mean(1, keepdim=True)
    spread_a_S, spread_b_S = a_SP.square().sum(1), b_SP.square().sum(1)
    is_flat_a_S, is_flat_b_S = (each <= 1e-24 * each.numel() for each in (spread_a_S, spread_b_S))
    product_S = (spread_a_S * spread_b_S).sqrt()
    correlation_S = (a_SP * b_SP).sum(1) / torch.where(product_S > 0, product_S, torch.ones_like(product_S))
    correlation_S = torch.where(is_flat_a_S | is_flat_b_S, (is_flat_a_S & is_flat_b_S).double(), correlation_S)
    return (correlation_S.clamp(-1, 1) + 1) / 2


def complexity(score_SHW: Tensor) -> Tensor:
    """The share of the image that a map keeps, (S,), float64: the mean of its scores in 0..1. Equation 6."""
    return score_SHW.double().mean((1, 2))


def harmonic_mean(coherency_S: Tensor, complexity_S: Tensor, drop_S: Tensor) -> Tensor:
    """ADCC (S,): of coherency, 1 − complexity and 1 − average drop; 0 where one of them is 0. Equation 7."""
    parts_3S = torch.stack([coherency_S, 1 - complexity_S, 1 - drop_S])
    is_zero_S = (parts_3S <= 0).any(0)
    mean_S = 3 / parts_3S.clamp(min=torch.finfo(torch.float64).tiny).reciprocal().sum(0)
    return torch.where(is_zero_S, torch.zeros_like(mean_S), mean_S)
