"""Attention rollout: attention multiplied through the blocks, residual connections counted as attention to oneself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MERGES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda attention_BhNN: attention_BhNN.mean(1),
    "max": lambda attention_BhNN: attention_BhNN.amax(1),
    "min": lambda attention_BhNN: attention_BhNN.amin(1),
}
"""How a block's heads become one."""


def attention_rollout(attention: Sequence[Tensor], heads: str = "mean", discard: float = 0.0) -> Tensor:
    """How much of every token is in every one after the last block, (B, N, N), rows sum to 1.

    Π over the blocks, the last one leftmost, of (A + I) / 2 with rows brought to a sum of 1, A the `heads` of
    `attention` (B, heads, N, N) merged. Of each image and block the least `discard` of all values of A are set to 0
    first, but never what the first token has of itself. Abnar and Zuidema 2020, section 3; heads other than `mean` and
    `discard` are of jacobgil/vit-explain, which discards in the first image of a batch alone, and divides columns by
    the sums of rows, which agrees where nothing is discarded and no `max` or `min` is taken.
    """
    rolled_BNN: Tensor | None = None
    for attention_BhNN in attention:
        merged_BNN = MERGES[heads](attention_BhNN.float())
        if discard > 0:
            merged_BNN = _without_least(merged_BNN, discard)
        N = merged_BNN.shape[-1]
        share_BNN = (merged_BNN + torch.eye(N, device=merged_BNN.device)) / 2
        share_BNN = share_BNN / share_BNN.sum(2, keepdim=True)
        rolled_BNN = share_BNN if rolled_BNN is None else share_BNN @ rolled_BNN
    assert rolled_BNN is not None, "a transformer has a block"
    return rolled_BNN


def _without_least(attention_BNN: Tensor, discard: float) -> Tensor:
    flat_BM = attention_BNN.flatten(1)
    least_Bm = flat_BM.topk(int(flat_BM.shape[1] * discard), dim=1, largest=False).indices
    kept_BM = torch.ones_like(flat_BM).scatter_(1, least_Bm, 0.0)
    kept_BM[:, 0] = 1
    return (flat_BM * kept_BM).view_as(attention_BNN)
