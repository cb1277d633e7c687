"""Local response normalisation across channels: Caffe's, of the first GoogLeNet and AlexNet."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cam_lightning.functional.kernel.local_response_norm import differentiate_pixels, normalise_pixels

ALPHA = 1e-4 / 5
"""Of the sum of 5 squares: Caffe's 1e-4 is of their mean."""
_SHARE = 2**18
"""Values that are worth a thread."""


def local_response_norm(x_BKhw: Tensor) -> Tensor:
    """x / (1 + 1e-4 · mean of the squares of 5 neighbouring channels)^0.75, of its input's type and memory format.

    Beyond the first and the last channel are zeros. Computed in float32 also for smaller types, in float64 for
    float64; the same bits whatever the number of threads. For the backward pass, which is deterministic on every
    device, the input alone is kept. On a CPU channels-last is the fast way. Krizhevsky et al. 2012, section 3.3, with
    Caffe's constants.
    """
    return _LocalResponseNorm.apply(x_BKhw)


class _LocalResponseNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BKhw: Tensor) -> Tensor:
        ctx.save_for_backward(x_BKhw)
        x = _wide(x_BKhw)
        if _suits_kernel(x):
            return _by_kernel(normalise_pixels, x).to(x_BKhw.dtype)
        return x.div(_root(_scale(x))).to(x_BKhw.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BKhw: Tensor) -> Tensor:
        (x_BKhw,) = ctx.saved_tensors
        x, gradient = _wide(x_BKhw), _wide(gradient_BKhw)
        if _suits_kernel(x):
            gradient = gradient.contiguous(memory_format=torch.channels_last)
            return _by_kernel(differentiate_pixels, x, gradient).to(x_BKhw.dtype)
        scale = _scale(x)
        passed = gradient / _root(scale)
        neighbours = _sum_of_neighbours(passed * x / scale)
        return passed.addcmul_(x, neighbours, value=-1.5 * ALPHA).to(x_BKhw.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _root(scale: Tensor) -> Tensor:
    """The power of 0.75, by square roots alone: they are cheap, and rounded the same everywhere."""
    root = scale.sqrt()
    return root.sqrt().mul_(root)


def _scale(x_BKhw: Tensor) -> Tensor:
    return _sum_of_neighbours(x_BKhw.square()).mul_(ALPHA).add_(1)


def _sum_of_neighbours(x_BKhw: Tensor) -> Tensor:
    """The sums over 5 neighbouring channels."""
    total = x_BKhw.clone()
    for distance in (1, 2):
        total[:, distance:] += x_BKhw[:, :-distance]
        total[:, :-distance] += x_BKhw[:, distance:]
    return total


def _suits_kernel(x_BKhw: Tensor) -> bool:
    """Whether the values lie in this machine's memory, the channels of a pixel side by side.

    Not while a compiler or a mode follows shapes alone.
    """
    return (
        type(x_BKhw) is Tensor
        and x_BKhw.device.type == "cpu"
        and x_BKhw.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    )


def _by_kernel(kernel: Callable[..., None], x_BKhw: Tensor, *further: Tensor) -> Tensor:
    """What the kernel writes, from as many threads as torch's own operations have; pixels are independent."""
    out_BKhw = torch.empty_like(x_BKhw, memory_format=torch.channels_last)
    x_PK, out_PK, *further_PK = (_pixels(tensor) for tensor in (x_BKhw, out_BKhw, *further))
    count = min(torch.get_num_threads(), 1 + x_PK.size // _SHARE)
    if count == 1:
        kernel(x_PK, ALPHA, *further_PK, out_PK)
        return out_BKhw
    first = np.linspace(0, len(x_PK), count + 1).astype(int)
    parts = [slice(*pair) for pair in pairwise(first)]
    with ThreadPoolExecutor(count) as threads:
        done = [
            threads.submit(kernel, x_PK[part], ALPHA, *(array[part] for array in further_PK), out_PK[part])
            for part in parts
        ]
    for each in done:
        each.result()
    return out_BKhw


def _pixels(x_BKhw: Tensor) -> np.ndarray:
    B, K, h, w = x_BKhw.shape
    return x_BKhw.detach().permute(0, 2, 3, 1).view(B * h * w, K).numpy()
