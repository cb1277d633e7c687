"""FullGrad: what the image and every bias add to a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def full_grad(parts: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Maps (B, H, W): Σ over `parts` and their channels of ψ, from image ⊙ gradient and each layer's bias ⊙ gradient.

    Parts are (B, K, h, w). ψ is the absolute value, brought to 0..1 by a part's least and greatest value over all of
    its channels, upsampled bilinearly. Srinivas and Fleuret 2019, equation 5, and their released code; grad-cam 1.5
    brings every channel to 0..1 by itself, so that a channel without any say weighs as much as the strongest.
    """
    map_BHW = torch.zeros((len(parts[0]), *size), device=parts[0].device)
    for part_BKhw in parts:
        share_BKhw = part_BKhw.abs()
        low = share_BKhw.amin((1, 2, 3), keepdim=True)
        high = share_BKhw.amax((1, 2, 3), keepdim=True)
        share_BKhw = torch.where(high == low, 0, (share_BKhw - low) / (high - low))
        # Sums over channels and upsampling may change places: both are linear.
        summed_B1hw = share_BKhw.sum(1, keepdim=True)
        map_BHW = map_BHW + F.interpolate(summed_B1hw, size, mode="bilinear")[:, 0]
    return map_BHW


def layer_biases(network: nn.Module) -> dict[str, Tensor]:
    """What each layer of a network in eval mode adds to its output whatever its input, (K), by the layer's name.

    Of convolutions the bias, of batch normalisations β − γ μ / σ. One that has an activation within it (timm's) is
    named by what it gives to that. Biases of linear layers have no place on a map; those of other normalisations
    depend on the input: both are left out.
    """
    biases = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            biases[name] = layer.bias.detach()
        elif isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            biases[f"{name}.drop" if isinstance(getattr(layer, "drop", None), nn.Module) else name] = _shift(layer)
    return biases


def _shift(norm: Any) -> Tensor:
    scale_K = (norm.running_var + norm.eps).rsqrt()
    if not norm.affine:
        return (-norm.running_mean * scale_K).detach()
    return (norm.bias - norm.weight * norm.running_mean * scale_K).detach()
