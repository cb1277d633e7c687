"""Deletion and insertion: does a class's probability go and come with the pixels that its map calls important?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cam_lightning.functional.post_processing import PostProcessing

_UPSAMPLING = PostProcessing(upsample="bilinear")


def importance_rank(map_hw: Tensor, size: tuple[int, int]) -> Tensor:
    """Each pixel's place (H, W), int64, in the order of importance: 0 is where the map is largest.

    The map, on the CPU, is upsampled to height and width `size` first, as boxes are (bilinear). Pixels of one value go
    row by row from the top left, so that a constant map has an order too; what is not a number comes first.
    """
    map_hw = map_hw.detach().float()
    if map_hw.amax() == map_hw.amin():
        # Upsampled, a constant would differ in its last bits.
        map_HW = torch.zeros(size)
    else:
        map_HW = torch.from_numpy(_UPSAMPLING.upsampled(map_hw.numpy(), size))
    order_P = map_HW.flatten().argsort(descending=True, stable=True)
    rank_P = torch.empty_like(order_P)
    rank_P[order_P] = torch.arange(len(order_P), device=order_P.device)
    return rank_P.unflatten(0, size)


def replaced(image_S3HW: Tensor, substitute_S3HW: Tensor, rank_HW: Tensor, count_S: Tensor) -> Tensor:
    """Images (S, 3, H, W) whose `count_S` most important pixels are those of `substitute_S3HW`."""
    is_replaced_SHW = rank_HW < count_S[:, None, None]
    return torch.where(is_replaced_SHW[:, None], substitute_S3HW, image_S3HW)


def blurred(image_B3HW: Tensor, size: int = 11, sigma: float = 5.0) -> Tensor:
    """Images through a Gaussian kernel of `size`×`size`, with zeros beyond the border.

    As the released code of Petsiuk et al. 2018 makes it: the Gaussian is cut off at 4 sigma, and what of it lies
    outside of the kernel is folded back at its edges, so the kernel is flatter than a Gaussian, and of sum 1.
    `evaluation.py` (`gkern`), `Evaluation.ipynb` (11 and 5). Raises ValueError for a size that is not odd.
    """
    check_blur(size, sigma)
    kernel_k = _folded_gaussian(size, sigma).to(image_B3HW)
    kernel_31kk = torch.outer(kernel_k, kernel_k).expand(3, 1, size, size)
    return F.conv2d(image_B3HW, kernel_31kk, padding=size // 2, groups=3)


def check_blur(size: int, sigma: float) -> None:
    """Raises ValueError for a kernel that `blurred` cannot have."""
    if size < 1 or size % 2 == 0 or sigma <= 0:
        raise ValueError(f"a blur's size is odd and its sigma positive; got {size} and {sigma}")


def _folded_gaussian(size: int, sigma: float) -> Tensor:
    """What a unit impulse in the middle of `size` cells becomes, float64, where cells beyond the ends are mirrored."""
    radius = int(4 * sigma + 0.5)
    offset = torch.arange(-radius, radius + 1)
    weight = torch.exp(-0.5 * (offset.double() / sigma) ** 2)
    # The mirrored line … b a | a b … z | z y … has the period of two sizes.
    place = (size // 2 + offset) % (2 * size)
    place = torch.minimum(place, 2 * size - 1 - place)
    return torch.zeros(size, dtype=torch.float64).index_add(0, place, weight / weight.sum())


def area_under_curve(value_S: Tensor, share_S: Tensor) -> float:
    """The integral of `value_S` over `share_S`, which rises from 0 to 1, by the trapezoid rule, in float64."""
    return float(torch.trapezoid(value_S.double(), share_S.double()))
