"""What local response normalisation adds to the paper's trunk: `python -m experiments.bench_local_response_norm`.

`googlenet variant=caffe` at 224, batch 32, channels-last, against itself with both normalisations taken out: a forward
pass, and forward and backward; in turn, in one process, warm; medians, and the ratio pair by pair. In float32 and under
bf16 autocast, on a GPU if there is one.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from cam_lightning.backbone.googlenet import googlenet
from cam_lightning.backbone.layers import LocalResponseNorm


def without_normalisation(network: nn.Module) -> nn.Module:
    """A copy of the network that leaves the normalisations out."""
    bare = copy.deepcopy(network)
    layers = [name for name, layer in bare.named_modules() if isinstance(layer, LocalResponseNorm)]
    assert len(layers) == 2
    for name in layers:
        bare.set_submodule(name, nn.Identity())
    return bare


def seconds(work: Callable[[nn.Module], None], network: nn.Module) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work(network)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    """Prints one line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    network = googlenet(1000, variant="caffe").to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    bare = without_normalisation(network)
    image_B3HW = 60 * torch.randn(options.batch, 3, options.size, options.size, device=device)
    image_B3HW = image_B3HW.contiguous(memory_format=torch.channels_last)
    label_B = torch.zeros(options.batch, dtype=torch.int64, device=device)

    @torch.inference_mode()
    def forward(network: nn.Module) -> None:
        network.eval()(image_B3HW)

    def step(network: nn.Module) -> None:
        F.cross_entropy(network.train()(image_B3HW).logits_BC, label_B).backward()
        network.zero_grad()

    what = f"googlenet variant=caffe, {options.size}, batch {options.batch}"
    for precision in ("float32", "bf16"):
        for name, work in (("forward", forward), ("forward and backward", step)):
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                times = [(seconds(work, network), seconds(work, bare)) for _ in range(options.pairs + 1)][1:]
            ours, theirs = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
            ratios = [a / b for a, b in times]
            print(
                f"{what}, {precision}, {name}: {ours:.0f} ms, without normalisation {theirs:.0f} ms, "
                f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}, {len(ratios)} pairs)",
                flush=True,
            )


if __name__ == "__main__":
    main()
