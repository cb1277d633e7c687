"""Boxes: conversions into the one convention (xyxy, half-open), and the trivial baselines."""

from __future__ import annotations

import torch
from torch import Tensor


def from_inclusive_corners(corners_N4: Tensor) -> Tensor:
    """Half-open boxes from corners that are both inside the box, as ILSVRC's XML and Tiny ImageNet have them."""
    return corners_N4.float() + corners_N4.new_tensor([0, 0, 1, 1]).float()


def from_xywh(xywh_N4: Tensor) -> Tensor:
    """Half-open boxes from `x y width height`, as CUB-200-2011 and COCO have them."""
    xywh_N4 = xywh_N4.float()
    return torch.cat([xywh_N4[..., :2], xywh_N4[..., :2] + xywh_N4[..., 2:]], dim=-1)


def centre_box(size_B2: Tensor, share: float) -> Tensor:
    """The centred box whose sides are `share` of the image's: (B, 4) from heights and widths (B, 2).

    `share=1` is the whole image. Corners are not rounded, so the box has the same share of every image.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a centre box takes a share of each side in (0, 1]; got {share}")
    width_height_B2 = size_B2.flip(-1).float()
    margin_B2 = width_height_B2 * (1 - share) / 2
    return torch.cat([margin_B2, width_height_B2 - margin_B2], dim=-1)


def rescale(boxes_BN4: Tensor, from_size_B2: Tensor, to_size_B2: Tensor) -> Tensor:
    """Boxes (B, N, 4) of one frame in the pixels of another; sizes (B, 2) are heights and widths."""
    factor_B2 = (to_size_B2.double() / from_size_B2.double()).flip(-1)
    return (boxes_BN4.double() * torch.cat([factor_B2, factor_B2], dim=-1)[:, None]).float()


def as_fractions(boxes_N4: Tensor, height: int, width: int) -> Tensor:
    """Half-open xyxy boxes in pixels as float64 fractions (N, 4) in 0..1 of an image's width and height.

    What a box has outside its image is cut off.
    """
    return (boxes_N4.double() / boxes_N4.new_tensor([width, height, width, height]).double()).clamp(0, 1)
