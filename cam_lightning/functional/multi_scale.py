"""Maps of one image at several input sizes, merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def aligned(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, T, h, w) of rising sizes as one (S, B, T, h, w), each upsampled bilinearly to the cells of the last."""
    h, w = maps[-1].shape[2:]
    return torch.stack([F.interpolate(each.float(), (h, w), mode="bilinear") for each in maps])


def mean_of_sizes(map_SBThw: Tensor) -> Tensor:
    """The mean, in the unit of the maps."""
    return map_SBThw.mean(0)


def maximum_of_sizes(map_SBThw: Tensor) -> Tensor:
    """In every cell the greatest value, in the unit of the maps."""
    return map_SBThw.amax(0)


MERGES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": mean_of_sizes,
    "max": maximum_of_sizes,
}
