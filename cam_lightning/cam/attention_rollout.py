"""Attention rollout: what of the patches has reached the class token; the same for every class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap
from cam_lightning.functional.attention import attention, on_the_grid, require_class_token
from cam_lightning.functional.attention_rollout import MERGES, attention_rollout
from cam_lightning.functional.post_processing import check_option


class AttentionRollout(GradientMap):
    """Maps (B, T, h, w), float32, one for all classes: see `functional/attention_rollout.py` (Abnar and Zuidema 2020).

    `row`: `class`, the shares in the class token; `mean`, those in the mean of the patch tokens, which a head of
    averaged tokens reads. `heads`: how a block's heads are merged: `mean`, `max` or `min`. `discard`: the share of a
    block's attention, the least of it, that is left out. Costs a forward. Raises ValueError for other options, and for
    a network without such attention, or without a class token where it is asked for.
    """

    def __init__(self, row: str = "class", heads: str = "mean", discard: float = 0.0, batch_size: int = 8) -> None:
        super().__init__(batch_size)
        check_option("cam.heads", heads, MERGES)
        check_option("cam.row", row, ("class", "mean"))
        if not 0 <= discard < 1:
            raise ValueError(f"cam.discard is a share in [0, 1); got {discard}")
        self.row = row
        self.heads = heads
        self.discard = discard

    def protocol(self) -> dict[str, Any]:
        """The rule in words that a results file can hold."""
        return {"row": self.row, "heads": self.heads, "discard": self.discard}

    def unit(self, network: Any) -> str:
        """What a raw value is, in words."""
        return f"share of the {'class token' if self.row == 'class' else 'mean patch token'} (all tokens sum to 1)"

    def maps(self, network: Any, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        blocks, layout = attention(network, image_B3HW)
        if self.row == "class":
            require_class_token(layout)
        with torch.autocast(image_B3HW.device.type, enabled=False):
            rolled_BNN = attention_rollout(blocks, self.heads, self.discard)
        row_BN = rolled_BNN[:, 0] if self.row == "class" else rolled_BNN[:, layout.prefix :].mean(1)
        return on_the_grid(row_BN, layout)[:, None].expand(-1, classes_BT.shape[1], -1, -1)
