"""A branch of convolutions that ends in a map for each class, as several methods put beside or behind a trunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cam_lightning.method.trunk_layer import xavier_


def class_map_branch(in_channels: int, units: int, num_classes: int) -> nn.Sequential:
    """Two 3×3 convolutions with their ReLU, and one with a map per class."""
    branch = nn.Sequential(
        nn.Conv2d(in_channels, units, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(units, units, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(units, num_classes, 1),
    )
    xavier_(branch)
    return branch


def unit_range(map_Bhw: Tensor) -> Tensor:
    """Each map from 0 at its minimum to 1 at its maximum; a constant one is 0."""
    low_B11, high_B11 = map_Bhw.amin((1, 2), keepdim=True), map_Bhw.amax((1, 2), keepdim=True)
    return (map_Bhw - low_B11) / (high_B11 - low_B11).clamp(min=torch.finfo(map_Bhw.dtype).tiny)
