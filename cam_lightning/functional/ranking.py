"""Ranked classes: the top-k of the logits, with ties settled the same way everywhere."""

from __future__ import annotations

import torch
from torch import Tensor


def ranked_classes(logits_BC: Tensor, count: int = 5) -> Tensor:
    """The T best classes (B, T), int64, best first, where T is the smaller of `count` and C.

    Equal logits go by class index, the lower first: `torch.topk` leaves that order open, and it differs
    between devices. A logit that is not a number ranks last.
    """
    # The smallest number takes the place of minus infinity, so that NaN can stand below it.
    lowest = torch.finfo(torch.float32).min
    logits_BC = torch.nan_to_num(logits_BC.float(), nan=-torch.inf, posinf=torch.inf, neginf=lowest)
    return logits_BC.argsort(dim=1, descending=True, stable=True)[:, :count]


def rank_of_label(classes_BT: Tensor, label_B: Tensor) -> Tensor:
    """Where the label stands in the ranking (B,), int64: 0 is first, T means not among the T."""
    match_BT = classes_BT == label_B[:, None]
    return (match_BT.cumsum(1) == 0).sum(1)
