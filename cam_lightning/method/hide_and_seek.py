"""Hide-and-Seek: patches of the training images are hidden, so that the network must find more than one part."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor

from cam_lightning.contracts import Batch
from cam_lightning.method.classification import Classification


class HideAndSeek(Classification):
    """Classification of images whose patches are hidden with probability `drop_rate`; options as `Classification`'s.

    An image is divided into squares of S pixels from the top left corner, and hidden ones take the mean colour, which
    is 0 once pixels are normalised. Each image draws its S evenly among `patch_sizes`; 0 hides nothing. Whole images
    are seen in evaluation. Singh and Lee 2017 (ICCV), section 3.

    The paper trains with one S or several, 0.5 hidden; its code (kkanshul/Hide-and-Seek, hide_patch.py) draws among 0,
    16, 32, 44 and 56 as here. The WSOL benchmark (method/has.py) has one size for all, 4 pixels by default, and takes
    rows for columns, which only squares forgive. Raises ValueError for no size, one below 0, and no probability.
    """

    def __init__(
        self, *args: Any, patch_sizes: Sequence[int] = (0, 16, 32, 44, 56), drop_rate: float = 0.5, **options: Any
    ) -> None:
        if not patch_sizes or min(patch_sizes) < 0:
            raise ValueError(f"method.patch_sizes are pixels, at least one size, 0 for none; got {list(patch_sizes)}")
        if not 0 <= drop_rate <= 1:
            raise ValueError(f"method.drop_rate is a probability in [0, 1]; got {drop_rate}")
        super().__init__(*args, **options)
        self.patch_sizes = tuple(patch_sizes)
        self.drop_rate = drop_rate

    def view(self, batch: Batch) -> Batch:
        B, _, H, W = batch.image_B3HW.shape
        hidden_BHW = torch.stack([self.hidden(H, W) for _ in range(B)]).to(batch.image_B3HW.device)
        return batch._replace(image_B3HW=batch.image_B3HW.masked_fill(hidden_BHW[:, None], 0))

    def hidden(self, H: int, W: int) -> Tensor:
        """Which pixels of an image are hidden, bool (H, W), by the generator that every batch starts with its seed."""
        size = self.patch_sizes[int(torch.randint(len(self.patch_sizes), ()))]
        if size == 0:
            return torch.zeros(H, W, dtype=torch.bool)
        hidden_hw = torch.rand(ceil(H / size), ceil(W / size)) < self.drop_rate
        return hidden_hw.repeat_interleave(size, 0)[:H].repeat_interleave(size, 1)[:, :W]
