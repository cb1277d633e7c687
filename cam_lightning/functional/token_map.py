"""Where the tokens of a transformer lie: what a layer gives, (B, N, D) or (B, h, w, D), as a map, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class TokenLayout(NamedTuple):
    """How a trunk lays out the tokens of images of one size; what it tells with `token_layout((H, W))`."""

    size: tuple[int, int]
    """Height and width of the images."""
    grid: tuple[int, int]
    """Rows and columns of the patch tokens."""
    prefix: int = 0
    """How many tokens that lie nowhere come before those: class, distillation and register tokens."""
    class_token: bool = False
    """Whether the first of them is a class token."""
    images: int | None = None
    """How many images there are, where it is known: what has another number of rows is no map of theirs."""


def token_layout(network: Any, image_B3HW: Tensor) -> TokenLayout | None:
    """How this network lays out the tokens of these images; None for one that does not say, as one of convolutions."""
    ask = getattr(network, "token_layout", None)
    layout = None if ask is None else ask((image_B3HW.shape[2], image_B3HW.shape[3]))
    return None if layout is None else layout._replace(images=len(image_B3HW))


def token_map(output: Tensor, layout: TokenLayout | None) -> Tensor | None:
    """What a layer gave as a map (B, K, h, w), its prefix tokens left out; None where it is no map.

    Without a layout maps are (B, K, h, w) already. With one, an output of four axes is taken by its size: (B, h, w, D)
    or (B, K, h, w), whichever has the images' proportions; one of three axes has to be the trunk's own grid, with or
    without its prefix. So windows, heads and attention, which lie otherwise, are no map.
    """
    if layout is None:
        return output if output.ndim == 4 else None
    if layout.images not in (None, len(output)):
        return None
    if output.ndim == 4 and _has_proportions((output.shape[1], output.shape[2]), layout.size):
        return output.permute(0, 3, 1, 2)
    if output.ndim == 4:
        return output if _has_proportions((output.shape[2], output.shape[3]), layout.size) else None
    if output.ndim != 3:
        return None
    h, w = layout.grid
    prefix = output.shape[1] - h * w
    if prefix not in (0, layout.prefix):
        return None
    return output[:, prefix:].unflatten(1, (h, w)).permute(0, 3, 1, 2)


def prefix_tokens(output: Tensor, layout: TokenLayout) -> Tensor:
    """The tokens (B, P, D) of a layer's output that lie nowhere; P is 0 where there are none."""
    if output.ndim != 3:
        return output.new_zeros(len(output), 0, 0)
    return output[:, : output.shape[1] - layout.grid[0] * layout.grid[1]]


def with_token_map(output: Tensor, map_BKhw: Tensor, layout: TokenLayout | None) -> Tensor:
    """As a layer's output, with `map_BKhw` in place of its own map; prefix tokens stay. The map's gradients pass."""
    own_BKhw = token_map(output, layout)
    if own_BKhw is None or own_BKhw.shape != map_BKhw.shape:
        raise ValueError(f"a map of {tuple(map_BKhw.shape)} has no place in an output of {tuple(output.shape)}")
    if output.ndim == 4:
        return map_BKhw.to(output) if own_BKhw is output else map_BKhw.to(output).permute(0, 2, 3, 1)
    tokens_BND = map_BKhw.to(output).flatten(2).transpose(1, 2)
    prefix = output.shape[1] - tokens_BND.shape[1]
    return torch.cat([output[:, :prefix], tokens_BND], dim=1)


def _has_proportions(cells: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether the cells are what whole strides leave of the image, rounded down or up, the same down and across."""
    stride = max(1, round(size[0] / cells[0]))
    return all(n in (side // stride, -(-side // stride)) for n, side in zip(cells, size, strict=True))
