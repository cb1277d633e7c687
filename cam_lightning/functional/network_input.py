"""What every evaluation gives a network: normalised pixels, in true float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def normalised(image_B3HW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """float32 (B, 3, H, W) of pixels in 0..255, with the mean and standard deviation of pixels in 0..1."""
    mean_3, std_3 = (torch.tensor(value, device=image_B3HW.device).view(3, 1, 1) * 255 for value in (mean, std))
    return (image_B3HW.float() - mean_3) / std_3


@contextmanager
def full_float32(device_type: str) -> Iterator[None]:
    """No autocast and no TF32 within; afterwards everything is as it was, also after an error."""
    allow_tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = allow_tf32
