"""The same network with random weights: what it would be before it has learned anything."""

from __future__ import annotations

import copy
import zlib
from typing import Any

import torch


def randomised(network: Any, seed: int) -> Any:
    """A copy in eval mode, where the network is, whose every weight is drawn anew; `network` is left as it is.

    Weights of at least two axes are He-normal (variance 2 / fan-in: activations keep their scale through ReLUs);
    of one axis they are 1, as scales of normalisation layers are at first, and biases 0; running means are 0 and
    variances 1. Each is drawn from `seed` and its own name, so that no order of layers changes it. After the model
    parameter randomization test of Adebayo et al. 2018, section 3, all layers at once.
    """
    with torch.inference_mode(False), torch.no_grad():
        twin = copy.deepcopy(network).eval()
        for name, parameter in twin.named_parameters():
            if parameter.ndim >= 2:
                generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn * (2 / parameter[0].numel()) ** 0.5)
            else:
                parameter.fill_(0.0 if name.rpartition(".")[2] == "bias" else 1.0)
        for name, buffer in twin.named_buffers():
            kind = name.rpartition(".")[2]
            if kind in ("running_mean", "running_var"):
                buffer.fill_(float(kind == "running_var"))
    return twin
