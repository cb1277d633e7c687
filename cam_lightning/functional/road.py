"""ROAD: pixels are removed by filling their places from their surroundings, so that the hole's shape tells nothing."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from cam_lightning.functional.kernel.imputation import fill

TOLERANCE = 1e-5
"""Of the linear system's residual: pixels are then right to about 1e-4 of a standard deviation, the noise is 1e-2."""


def imputed(image_3HW: np.ndarray, is_removed_HW: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """The image, float32, with each removed pixel the weighted mean of its eight neighbours, removed ones among them.

    The four next ones weigh 1/6, the diagonal ones 1/12; those outside of the image have no weight. Rong et al. 2022,
    section 4.2 and appendix (noisy linear imputation, without its noise). Raises ValueError where nothing is left to
    fill from.
    """
    if is_removed_HW.all():
        raise ValueError("an image of which every pixel is removed has no surroundings to fill it from")
    value_HW3 = image_3HW.transpose(1, 2, 0).astype(np.float64)
    if not np.isfinite(value_HW3).all():
        return image_3HW
    if fill(value_HW3, is_removed_HW, tolerance, 100 * sum(is_removed_HW.shape)) < 0:
        raise FloatingPointError(f"removed pixels could not be filled to a residual of {tolerance:g}")
    return value_HW3.transpose(2, 0, 1).astype(np.float32)


def removals(rank_HW: Tensor, shares: list[float]) -> tuple[Tensor, Tensor]:
    """Which pixels go at each share of all (S, H, W), bool: the most relevant first, and the least relevant first.

    `rank_HW` is each pixel's place in the order of importance, 0 the first. Counts are rounded down.
    """
    num_pixels = rank_HW.numel()
    count_S11 = torch.tensor([int(share * num_pixels) for share in shares])[:, None, None]
    return rank_HW < count_S11, rank_HW >= num_pixels - count_S11


def removed(image_3HW: Tensor, is_removed_SHW: Tensor, noise: float, seed: tuple[int, int]) -> Tensor:
    """Images (S, 3, H, W), on the CPU, in whose removed pixels there are their surroundings and Gaussian noise.

    The noise, of standard deviation `noise`, is drawn from `seed`. On all cores: a system of equations for each image.
    """
    pixels_3HW = image_3HW.detach().cpu().numpy()
    masks = list(is_removed_SHW.numpy())
    with ThreadPoolExecutor(min(len(masks), len(os.sched_getaffinity(0)))) as pool:
        filled = list(pool.map(lambda mask: imputed(pixels_3HW, mask), masks))
    random = np.random.Generator(np.random.Philox(key=np.array(seed, np.uint64)))
    for image, mask in zip(filled, masks, strict=True):
        image[:, mask] += (noise * random.standard_normal((3, int(mask.sum())))).astype(np.float32)
    return torch.from_numpy(np.stack(filled))
