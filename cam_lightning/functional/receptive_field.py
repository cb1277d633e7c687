"""Receptive fields: the pixels that a unit at a cell of a map can depend on at all, of any trunk.

Not a number is what reaches everything that is computed from it: a convolution whatever its weights are, pooling,
normalisation, a branch, attention. So rows of such pixels, laid over a blank image from the top and from the bottom,
leave just those cells as they are whose field ends before them. No layer needs a rule of its own, and what the image's
border cuts off is cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

AT_ONCE = 16
"""Images in one forward."""


class ReceptiveFields(NamedTuple):
    """Of every unit at every cell, frame `input`: a field is as many rows by as many columns, both half-open."""

    rows_Kh2: Tensor
    """int64: the first row of the field, and the one behind its last."""
    columns_Kw2: Tensor
    """int64: likewise."""

    def box(self, unit: int, row: int, column: int) -> tuple[int, int, int, int]:
        """xyxy, half-open, in pixels of the network's input."""
        (y0, y1), (x0, x1) = self.rows_Kh2[unit, row].tolist(), self.columns_Kw2[unit, column].tolist()
        return x0, y0, x1, y1


@torch.inference_mode()
def receptive_fields(
    features: Callable[[Tensor], Tensor], input_size: tuple[int, int], units: Tensor, device: torch.device | str = "cpu"
) -> ReceptiveFields:
    """The fields of some units, int64 (K,), of `features`: images (B, 3, H, W) → (B, all units, h, w).

    Each edge is found by halving, so it takes far fewer than 2 (H + W) forwards. A unit that sees nothing, a constant,
    has an empty field, (0, 0). The network must be in eval mode: batch statistics would mix all images.
    """
    # Algorithms by transform (Winograd) mix the cells of a tile, of which one would then spoil the others.
    with torch.backends.cudnn.flags(enabled=False):
        rows, columns = (_along(features, input_size, axis, units, device) for axis in (2, 3))
    return ReceptiveFields(rows, columns)


def _along(
    features: Callable[[Tensor], Tensor], input_size: tuple[int, int], axis: int, units: Tensor, device: Any
) -> Tensor:
    """First and behind the last pixel of the fields along one axis of the image: int64 (K, cells, 2)."""
    length = input_size[axis - 2]

    def touched(spoiled: list[slice]) -> Tensor:
        """Which cells depend on pixels in these rows or columns, each a try of its own: bool (tries, K, cells)."""
        image_B3HW = torch.zeros(len(spoiled), 3, *input_size, device=device)
        for image_3HW, part in zip(image_B3HW, spoiled, strict=True):
            image_3HW.narrow(axis - 1, part.start, part.stop - part.start).fill_(torch.nan)
        # Along the other axis all cells see the same rows.
        return features(image_B3HW)[:, units.to(device)].isnan().any(5 - axis).cpu()

    first = _most_untouched(lambda numbers: touched([slice(0, n) for n in numbers]), length)
    end = length - _most_untouched(lambda numbers: touched([slice(length - n, length) for n in numbers]), length)
    sees_nothing = first >= end
    return torch.stack([first.masked_fill(sees_nothing, 0), end.masked_fill(sees_nothing, 0)], dim=-1)


def _most_untouched(touched: Callable[[list[int]], Tensor], length: int) -> Tensor:
    """The most rows from one side that leave a cell untouched: int64 (K, cells), each found by halving."""
    by_all_Kc = touched([length])[0]
    low_Kc = torch.where(by_all_Kc, 0, length)
    high_Kc = low_Kc.new_full(low_Kc.shape, length) + ~by_all_Kc
    while (is_open_Kc := high_Kc - low_Kc > 1).any():
        middle_Kc = (low_Kc + high_Kc) // 2
        for some in middle_Kc[is_open_Kc].unique().split(AT_ONCE):
            for number, touched_Kc in zip(some.tolist(), touched(some.tolist()), strict=True):
                tried_Kc = is_open_Kc & (middle_Kc == number)
                low_Kc[tried_Kc & ~touched_Kc] = number
                high_Kc[tried_Kc & touched_Kc] = number
    return low_Kc
