"""Average drop and increase in confidence: what a class's probability makes of the pixels that its map leaves."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.post_processing import PostProcessing, score_map


def score_maps(map_Shw: Tensor, size: tuple[int, int], rule: PostProcessing) -> Tensor:
    """Maps as scores (S, H, W), float32 in [0, 1], at height and width `size`, on the CPU; 0 where one names no region.

    Raises ValueError for a rule whose values need not lie in [0, 1].
    """
    score_SHW = torch.empty(len(map_Shw), *size)
    for s, map_hw in enumerate(map_Shw):
        score_SHW[s] = torch.from_numpy(score_map(map_hw, size, rule))
    return score_SHW


def faded(image_S3HW: Tensor, score_SHW: Tensor) -> Tensor:
    """Normalised images times their scores: where a score is 0, the mean colour is left, which is 0.

    The explanation map of Chattopadhay et al. 2018, section 5.1, on the network's own input.
    """
    return image_S3HW * score_SHW.to(image_S3HW.device)[:, None]


def drop(before_S: Tensor, after_S: Tensor) -> Tensor:
    """The share (S,), float64, of each probability that is lost; 0 where nothing is, and where nothing was there.

    max(0, before − after) / before: Chattopadhay et al. 2018, section 5.1.
    """
    before_S, after_S = before_S.double(), after_S.double()
    lost_S = (before_S - after_S).clamp(min=0)
    return torch.where(before_S > 0, lost_S / before_S, torch.zeros_like(before_S))


def has_increased(before_S: Tensor, after_S: Tensor) -> Tensor:
    """Whether each probability is higher than before, bool (S,); not where either is no number."""
    return after_S > before_S
