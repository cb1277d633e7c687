"""Which precision trains fastest on this machine, for `trainer.precision=auto`."""

from __future__ import annotations

import logging
import os
import time

import torch
from torch.nn import functional as F

log = logging.getLogger(__name__)

CHOSEN = "CAM_LIGHTNING_PRECISION"
"""The environment variable by which the processes of one run take the first one's choice: their own timing could fall
out otherwise."""
WORTH = 1.25
"""How much faster than float32 bfloat16 has to be: it keeps 3 digits."""


def fastest_precision(accelerator: str) -> str:
    """`bf16-mixed` on a GPU that computes in bfloat16, and on a processor where that is faster; else `32-true`.

    A processor that has bfloat16 (AVX512-BF16, AMX) need not be fast at it: of those with AVX512-BF16 alone some take
    half the time of float32 and some twice as long. So one convolution is timed in both, which takes less than a
    second. The log says what was chosen, and why. Where `CHOSEN` is set, that is it.
    """
    if os.environ.get(CHOSEN):
        return os.environ[CHOSEN]
    if accelerator == "gpu":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        return _chosen(is_native, "this GPU computes in bfloat16" if is_native else "this GPU has no bfloat16")
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return _chosen(False, "this processor has no bfloat16")
    ratio = bfloat16_speed()
    return _chosen(ratio >= WORTH, f"here a convolution in bfloat16 is {ratio:.2f} times as fast as in float32")


def bfloat16_speed() -> float:
    """How many times as fast as in float32 a channels-last 3×3 convolution of GoogLeNet's size is, on one thread.

    The best of several, in this thread's own time: a busy machine hardly disturbs it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            best = {}
            for dtype in (torch.float32, torch.bfloat16):
                x_BKhw, weight = (
                    torch.ones(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
                    for shape in ((4, 128, 28, 28), (192, 128, 3, 3))
                )
                best[dtype] = min(_seconds(x_BKhw, weight) for _ in range(6))
    finally:
        torch.set_num_threads(threads)
    return best[torch.float32] / best[torch.bfloat16]


def _seconds(x_BKhw: torch.Tensor, weight: torch.Tensor) -> float:
    began = time.thread_time()
    F.conv2d(x_BKhw, weight, padding=1)
    return time.thread_time() - began


def _chosen(is_bfloat16: bool, reason: str) -> str:
    precision = "bf16-mixed" if is_bfloat16 else "32-true"
    log.info("trainer.precision=auto takes %s: %s", precision, reason)
    return precision
