"""Noise that belongs to an image: the same in any batch, at any position, in every run."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import torch
from torch import Tensor


def image_seed(image_3HW: Tensor, salt: int = 0) -> int:
    """A number made of an image's float32 values, and of `salt`, such as a class."""
    return zlib.crc32(image_3HW.detach().float().contiguous().cpu().numpy().tobytes(), salt & 0xFFFFFFFF)


def noisy_images(image_B3HW: Tensor, noise: float, samples: int) -> Iterator[Tensor]:
    """`samples` times the images (B, 3, H, W) with Gaussian noise, of standard deviation `noise` · (max − min) each.

    Every image's noise is drawn by itself, seeded by its pixels. Smilkov et al. 2017, section 3.2: their noise level.
    """
    generators = [torch.Generator().manual_seed(image_seed(image_3HW)) for image_3HW in image_B3HW]
    flat_BN = image_B3HW.flatten(1)
    deviation_B111 = (noise * (flat_BN.amax(1) - flat_BN.amin(1)))[:, None, None, None]
    for _ in range(samples):
        drawn = torch.stack([torch.randn(image_B3HW.shape[1:], generator=generator) for generator in generators])
        yield image_B3HW + deviation_B111 * drawn.to(image_B3HW)


def check_noise(noise: float, samples: int) -> None:
    """Raises ValueError for a negative noise level and for less than one sample."""
    if noise < 0:
        raise ValueError(f"cam.noise is a share of the range of an image's values, not negative; got {noise:g}")
    if samples < 1:
        raise ValueError(f"cam.samples is how many noisy images are averaged; got {samples}")
