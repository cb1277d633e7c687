"""Maps of several layers as one: fine where the shallow one is, and nowhere where a deep one is not."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from cam_lightning.functional.map_sizes import at_the_finest


def refine_cam(maps: list[Tensor]) -> Tensor:
    """Maps (B, T, h, w) of several layers, multiplied cell by cell at the size of the finest; in [0, 1].

    Each is rectified and brought to 0..1 by its own least and greatest value first; a constant one is 0. As RefineCAM
    of grad-cam 1.5 and torchcam 0.5 (Domeniconi et al. 2026), which bring the product to 0..1 again.
    """
    return torch.as_tensor(prod(at_the_finest([_share(map_BThw.relu()) for map_BThw in maps])))


def _share(map_BThw: Tensor) -> Tensor:
    low, high = map_BThw.amin((2, 3), keepdim=True), map_BThw.amax((2, 3), keepdim=True)
    return torch.where(high == low, 0, (map_BThw - low) / (high - low))
