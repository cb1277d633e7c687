"""What the class token attends to in one block: DINO's picture of the object; the same for every class."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap
from cam_lightning.functional.attention import attention, on_the_grid, require_class_token


class ClassAttention(GradientMap):
    """Maps (B, T, h, w), float32, one for all classes: the class token's attention to every patch.

    `block`: which, counted from 0, or from the end with −1 the last; `head`: which of its heads, or None: their mean
    (Caron et al. 2021, figure 1, shows them one by one). Costs a forward. Raises ValueError for a block or a head that
    there is not, and for a network without such attention or without a class token.
    """

    def __init__(self, block: int = -1, head: int | None = None, batch_size: int = 8) -> None:
        super().__init__(batch_size)
        self.block = block
        self.head = head

    def protocol(self) -> dict[str, Any]:
        """The rule in words that a results file can hold."""
        return {"block": self.block, "head": "mean" if self.head is None else self.head}

    def unit(self, network: Any) -> str:
        """What a raw value is, in words."""
        return "share of the class token's attention (all tokens sum to 1)"

    def maps(self, network: Any, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        blocks, layout = attention(network, image_B3HW)
        require_class_token(layout)
        if not -len(blocks) <= self.block < len(blocks):
            raise ValueError(f"cam.block={self.block}: this network has {len(blocks)} blocks, from 0 on")
        attention_BhN = blocks[self.block][:, :, 0]
        if self.head is not None and not 0 <= self.head < attention_BhN.shape[1]:
            raise ValueError(f"cam.head={self.head}: this block has {attention_BhN.shape[1]} heads, from 0 on")
        row_BN = attention_BhN.mean(1) if self.head is None else attention_BhN[:, self.head]
        return on_the_grid(row_BN, layout)[:, None].expand(-1, classes_BT.shape[1], -1, -1)
