"""Bicubic resizing as Matlab's and Octave's `imresize` do it, which the authors' code calls."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def imresize(map_hw: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (..., h, w) resized to height and width `size`, in float64.

    Keys' cubic kernel with a = -0.5 (`interpolate` of torch has -0.75), cells as areas (`align_corners=False`),
    mirrored beyond the borders, the kernel stretched where the map shrinks. Raises ValueError for a size below 1.
    """
    if min(size) < 1:
        raise ValueError(f"a map is resized to at least one pixel; got height and width {size}")
    from_rows, from_columns = (
        torch.from_numpy(_weights(cells, pixels)).to(map_hw.device)
        for cells, pixels in zip(map_hw.shape[-2:], size, strict=True)
    )
    return from_rows @ map_hw.double() @ from_columns.T


@lru_cache(maxsize=64)
def _weights(num_cells: int, num_pixels: int) -> np.ndarray:
    """How much each cell counts for each pixel along one axis: (pixels, cells), every row sums to 1."""
    scale = num_pixels / num_cells
    stretch = max(1 / scale, 1.0)
    position = (np.arange(num_pixels) + 0.5) / scale - 0.5
    reach = int(np.ceil(2 * stretch)) + 1
    cell = np.floor(position).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    weight = _cubic(np.abs(position[:, None] - cell) / stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    mirrored = cell % (2 * num_cells)
    mirrored = np.minimum(mirrored, 2 * num_cells - 1 - mirrored)
    weights = np.zeros((num_pixels, num_cells))
    np.add.at(weights, (np.arange(num_pixels)[:, None], mirrored), weight)
    return weights


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys 1981, equation 4 with a = -0.5."""
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
