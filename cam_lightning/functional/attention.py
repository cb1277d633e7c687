"""The attention of a transformer's blocks, kept while it runs, also where it is computed by a fused kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.functional.token_map import TokenLayout, token_layout


@contextmanager
def attention_kept(network: nn.Module) -> Iterator[list[Tensor]]:
    """Within, every forward adds the attention (B, heads, N, N) of each block to the list, in the order they run.

    It is what follows the softmax, with its gradients. timm's layers of attention have a switch `fused_attn`, and
    without the fused kernel hand it to a layer `attn_drop`: the switch is set for the time being, and as before
    afterwards, also after an error.
    """
    kept: list[Tensor] = []
    layers = [module for module in network.modules() if hasattr(module, "fused_attn") and hasattr(module, "attn_drop")]
    switched = [layer.fused_attn for layer in layers]

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        kept.append(output)

    handles = []
    try:
        for layer in layers:
            layer.fused_attn = False  # type: ignore[assignment]
            handles.append(layer.attn_drop.register_forward_hook(keep))  # type: ignore[union-attr]
        yield kept
    finally:
        for handle in handles:
            handle.remove()
        for layer, was_fused in zip(layers, switched, strict=True):
            layer.fused_attn = was_fused


@torch.no_grad()
def attention(network: Any, image_B3HW: Tensor) -> tuple[list[Tensor], TokenLayout]:
    """The attention (B, heads, N, N), float32, of every block for these images, and how their N tokens lie.

    Costs a forward, without autocast: in bfloat16 tokens that are attended to alike would tie. Raises ValueError for a
    network whose tokens do not all see each other in every block.
    """
    layout = token_layout(network, image_B3HW)
    whole = torch.autocast(image_B3HW.device.type, enabled=False)
    with whole, evaluation_mode(network), attention_kept(network) as kept:
        network.forward_features(image_B3HW)
    return [each.float() for each in kept], require_whole(kept, layout)


def require_whole(kept: list[Tensor], layout: TokenLayout | None) -> TokenLayout:
    """The layout; raises ValueError where attention is not that of all tokens of a grid and its prefix."""
    count = 0 if layout is None else layout.prefix + layout.grid[0] * layout.grid[1]
    if layout is None or not kept or any(each.ndim != 4 or {*each.shape[2:]} != {count} for each in kept):
        raise ValueError(
            "this map reads the attention of a transformer whose blocks look at all tokens at once, as ViT, DeiT and "
            "DINO do; this network has no such blocks. Choose another, such as cam=grad_cam"
        )
    return layout


def require_class_token(layout: TokenLayout) -> None:
    """Raises ValueError for a transformer that has none."""
    if not layout.class_token:
        raise ValueError(
            "this map is what the class token attends to, and this network has none; cam=le_grad and cam=grad_cam "
            "need none"
        )


def on_the_grid(value_BN: Tensor, layout: TokenLayout) -> Tensor:
    """The values of the patch tokens among those of all tokens, (B, h, w)."""
    return value_BN[:, layout.prefix :].unflatten(1, layout.grid)
