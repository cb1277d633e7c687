"""Boxes as fractions of their image, for readers that do not know its size."""

from __future__ import annotations

from torch import Tensor


def as_fractions(boxes_N4: Tensor, height: int, width: int) -> Tensor:
    """Half-open xyxy boxes in pixels as float64 fractions (N, 4) in 0..1 of an image's width and height.

    What a box has outside its image is cut off.
    """
    return (boxes_N4.double() / boxes_N4.new_tensor([width, height, width, height]).double()).clamp(0, 1)
