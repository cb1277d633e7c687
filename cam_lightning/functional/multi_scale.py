"""Maps of one image at several input sizes, merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

ABOVE = 0.2
"""A cell belongs to the extent of a map above this share of its maximum: the paper's threshold of boxes."""
SMALL, LARGE = 0.05, 0.8
"""Extents up to which the largest input counts alone, and from which the smallest does.

Chosen with the fewest GT-known errors of three published networks (GoogLeNet, SqueezeNet 1.1, EfficientNet-lite0) on
160 to 240 photos of 25 classes of CUB-200, of the class that each network guesses, and left so for all other photos.
"""


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


def chosen_by_extent(map_SBThw: Tensor) -> Tensor:
    """For each map a blend of two neighbouring sizes, chosen by how much of the image the mean of all maps covers.

    The extent is the share of cells above `ABOVE` of the maximum. From `LARGE` on the smallest input's map is taken as
    it is, up to `SMALL` the largest one's, and between them in proportion; maps are divided by their maximum before
    they are blended, so that the result is in 0..1 where it is positive. Those that are nowhere positive are not. No
    label and no box is asked.
    """
    S = len(map_SBThw)
    high_SBT11 = map_SBThw.amax((3, 4), keepdim=True)
    share_SBThw = map_SBThw / torch.where(high_SBT11 > 0, high_SBT11, 1)
    extent_BT = extent(share_SBThw.mean(0))
    place_BT = ((LARGE - extent_BT) / (LARGE - SMALL)).clamp(0, 1) * (S - 1)
    number_S11 = torch.arange(S, device=map_SBThw.device)[:, None, None]
    weight_SBT = (1 - (place_BT - number_S11).abs()).clamp(min=0)
    return (weight_SBT[..., None, None] * share_SBThw).sum(0)


def extent(map_BThw: Tensor) -> Tensor:
    """The share (B, T) of a map's cells above `ABOVE` of its maximum; 1 of one that is nowhere positive."""
    high_BT11 = map_BThw.amax((2, 3), keepdim=True)
    is_above_BThw = (map_BThw > ABOVE * high_BT11) | (high_BT11 <= 0)
    return is_above_BThw.float().mean((2, 3))


MERGES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": mean_of_sizes,
    "max": maximum_of_sizes,
    "extent": chosen_by_extent,
}
