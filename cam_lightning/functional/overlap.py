"""Overlap of boxes: intersection over union, and the best of several ground-truth boxes."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

import torch
from torch import Tensor


def intersection_over_union(a_4: Tensor, b_4: Tensor) -> Tensor:
    """IoU of half-open boxes, broadcast over the leading axes, in float64; 0 where the union is empty.

    float64 division is correctly rounded, so the ratio of two integer areas meets a threshold written in
    decimal exactly when the fraction does: 3/10 is at least 0.3, and an IoU of exactly 0.5 is a hit.
    """
    a_4, b_4 = a_4.double(), b_4.double()
    low_2 = torch.maximum(a_4[..., :2], b_4[..., :2])
    high_2 = torch.minimum(a_4[..., 2:], b_4[..., 2:])
    intersection = (high_2 - low_2).clamp(min=0).prod(-1)
    union = _area(a_4) + _area(b_4) - intersection
    return torch.where(union > 0, intersection / union, torch.zeros_like(union))


def best_overlap(boxes_BP4: Tensor, truth_BN4: Tensor, num_truth_B: Tensor) -> Tensor:
    """The best IoU (B, P), float64, of each box over its image's ground-truth boxes; 0 where there is none.

    Rows of `truth_BN4` from `num_truth_B` on are padding and never count. Both in the same frame.
    """
    iou_BPN = intersection_over_union(boxes_BP4[:, :, None], truth_BN4[:, None])
    is_box_BN = torch.arange(truth_BN4.shape[1], device=truth_BN4.device) < num_truth_B[:, None]
    iou_BPN = torch.where(is_box_BN[:, None], iou_BPN, torch.zeros_like(iou_BPN))
    if iou_BPN.shape[2] == 0:
        return iou_BPN.new_zeros(iou_BPN.shape[:2])
    return iou_BPN.amax(-1)


def written_overlap(iou: float, digits: int = 2) -> str:
    """An IoU cut off, never rounded up, so that it does not contradict its verdict: 0.4999 is a miss and reads `0.49`.

    Of the decimal that the number is written as: 0.29, which binary cannot hold, reads `0.29`.
    """
    return f"{Decimal(repr(float(iou))).quantize(Decimal(10) ** -digits, ROUND_DOWN)}"


def _area(box_4: Tensor) -> Tensor:
    return (box_4[..., 2:] - box_4[..., :2]).clamp(min=0).prod(-1)
