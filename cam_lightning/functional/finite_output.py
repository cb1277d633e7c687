"""A network that says NaN or infinity has no result: which layer said it first, and of which images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from cam_lightning.functional.network_input import evaluation_mode

NAMED_IMAGES = 3
"""How many images an error names."""


def require_finite_output(network: Any, image_B3HW: Tensor, logits_BC: Tensor, name: Callable[[int], str]) -> None:
    """Raises FloatingPointError where the logits of an image are not finite; `name` tells an image by its row.

    It names the parameter or buffer that is not finite, or else the first layer whose output is not, and the first
    images. The layer is looked for by a second forward of these images, made in the precision that surrounds the
    call, and only where something is wrong. `image_B3HW` are the normalised images that the logits are of.
    """
    finite_B = torch.isfinite(logits_BC).all(dim=1)
    if finite_B.all():
        return
    rows = torch.nonzero(~finite_B).flatten().tolist()
    names = ", ".join(name(row) for row in rows[:NAMED_IMAGES])
    further = f" and {len(rows) - NAMED_IMAGES} more of this batch" if len(rows) > NAMED_IMAGES else ""
    reason = broken_tensor(network) or _first_layer(network, image_B3HW[rows])
    advice = "" if reason.startswith("the network's weights") else "; look at the weights, or compute in float32"
    raise FloatingPointError(f"the network gives no finite number for {names}{further}: {reason}{advice}")


def broken_tensor(network: nn.Module) -> str:
    """In words, the first parameter or buffer with values that are not finite; empty where there is none."""
    return broken_among(network.state_dict().items(), "the network's weights are broken")


def broken_among(tensors: Iterable[tuple[str, Tensor]], what: str) -> str:
    """In words that begin with `what`, the first of some tensors that is not finite, and how many there are."""
    # Tensors without values (the meta device) have none that could be broken.
    with_values = [(name, value) for name, value in tensors if value.is_floating_point() and not value.is_meta]
    broken = [(name, value) for name, value in with_values if not _is_finite(value)]
    if not broken:
        return ""
    name, value = broken[0]
    count = int((~torch.isfinite(value)).sum())
    others = f", and {len(broken) - 1} more tensors" if len(broken) > 1 else ""
    return f"{what}: {name} has {count:,} of {value.numel():,} values that are NaN or infinite{others}"


@torch.no_grad()
def _first_layer(network: Any, image_B3HW: Tensor) -> str:
    """In words, the first module to end with an output that is not finite, the innermost of those around it."""
    if not _is_finite(image_B3HW):
        return "its normalised input is not finite already"
    found: list[str] = []

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not found and not all(map(_is_finite, _tensors(output))):
                largest = max((float(each.abs().max()) for each in _tensors(inputs)), default=0.0)
                # A sum between two layers, such as a mean over cells, belongs to neither.
                seen = f"values up to {largest:.3g} at its input" if math.isfinite(largest) else "its input too"
                found.append(f"{name} ({type(module).__name__}, {seen})")

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in network.named_modules() if name]
    try:
        with evaluation_mode(network):
            # Not `network(…)`: compiled, it would run without the hooks of the layers within.
            network.forward(image_B3HW)
    finally:
        for handle in handles:
            handle.remove()
    return f"the first layer whose output is not finite is {found[0] if found else 'its head'}"


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() and value.numel() else []
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for each in values for tensor in _tensors(each)]


def _is_finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
