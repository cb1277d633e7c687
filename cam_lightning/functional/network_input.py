"""What every evaluation gives a network: normalised pixels, in true float32, while it is not being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    """No autocast within, and neither TF32 nor bfloat16 in place of float32, in convolutions and in matrix products.

    Whichever of torch's switches have asked for it, older or newer ones. Afterwards everything is as it was, also after
    an error.
    """
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    # The older switches cannot be read where newer ones have set their parts apart; setting them sets all parts alike.
    allow_tf32, precision = _read(lambda: cudnn.allow_tf32), _read(torch.get_float32_matmul_precision)
    changed = [backends, cudnn, mkldnn, mkldnn.conv]
    changed += [cudnn.conv, cudnn.rnn] if allow_tf32 is None else []
    changed += [backends.cuda.matmul, mkldnn.matmul] if precision is None else []
    before = [(switch, switch.fp32_precision) for switch in changed if switch.fp32_precision in ("tf32", "bf16")]
    try:
        for switch, _ in before:
            switch.fp32_precision = "ieee"
        cudnn.allow_tf32 = False
        if precision != "highest":
            torch.set_float32_matmul_precision("highest")
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        if allow_tf32 is not None:
            cudnn.allow_tf32 = allow_tf32
        if precision is not None and precision != "highest":
            torch.set_float32_matmul_precision(precision)
        for switch, was in reversed(before):
            switch.fp32_precision = was


def _read(switch: Callable[[], Any]) -> Any:
    """What one of torch's older switches says; None where it has no answer, since newer ones are set otherwise."""
    try:
        return switch()
    except RuntimeError:
        return None


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
