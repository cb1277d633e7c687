"""What every evaluation gives a network: normalised pixels, in true float32, while it is not being trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def normalised(image_B3HW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """float32 (B, 3, H, W) of pixels in 0..255, with the mean and standard deviation of pixels in 0..1."""
    mean_3, std_3 = (torch.tensor(value, device=image_B3HW.device).view(3, 1, 1) * 255 for value in (mean, std))
    return (image_B3HW.float() - mean_3) / std_3


def blank_input(network: Any, size: tuple[int, int]) -> Tensor:
    """One normalised image (1, 3, H, W) of height and width `size` that shows nothing, where the network is."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return torch.zeros(1, 3, *size, device=device)


@contextmanager
def full_float32(device_type: str) -> Iterator[None]:
    """No autocast and no TF32 within; afterwards everything is as it was, also after an error."""
    allow_tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = allow_tf32


@contextmanager
def evaluation_mode(network: Any) -> Iterator[None]:
    """Every module in eval mode within; afterwards each is in the mode that it was in, also after an error."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, was_training in training.items():
            module.training = was_training
