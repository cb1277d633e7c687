"""Layers that stay as they are in training: those of a loaded trunk's beginning, mostly."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

log = logging.getLogger(__name__)


def freeze_layers(network: nn.Module, names: Sequence[str | int], through: str | int | None) -> list[nn.Module]:
    """Stops the gradients of some layers, puts them into eval mode and gives them; they are to be kept there.

    `names` are layers as the trunk names them (`conv1`, `inception3a`, `0`), or any part by its whole path
    (`trunk.inception3a.branch1`); `*` and `?` stand for any letters and any one. `through` freezes the trunk's first
    layers up to and with the one of that name. Raises ValueError for what names no layer, for `through` where the trunk
    is no sequence, and where nothing would be left to learn.
    """
    if isinstance(names, str | int):
        raise ValueError(f"method.freeze is a list of layers, as [{names}]; got {names!r}")
    chosen = {name for pattern in names for name in _matching(network, str(pattern))}
    if through is not None:
        chosen |= _first_layers(network, str(through))
    if not chosen:
        return []
    frozen = [layer for name, layer in network.named_modules() if name in chosen]
    for layer in frozen:
        layer.requires_grad_(False).eval()
    counts = dict.fromkeys((False, True), 0)
    for parameter in network.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    if not counts[True]:
        raise ValueError("method.freeze leaves nothing to learn: every layer of the network is frozen")
    log.info(
        "frozen: %s; %s of %s parameters learn",
        ", ".join(
            name.removeprefix("trunk.")
            for name, layer in network.named_modules()
            if name in chosen and _has_weights(layer)
        ),
        f"{counts[True]:,}",
        f"{sum(counts.values()):,}",
    )
    return frozen


def _has_weights(layer: nn.Module) -> bool:
    return next(layer.parameters(), None) is not None


def _matching(network: nn.Module, pattern: str) -> set[str]:
    trunk = {f"trunk.{name}" for name in _trunk_layers(network) if fnmatchcase(name, pattern)}
    found = trunk or {name for name, _ in network.named_modules() if name and fnmatchcase(name, pattern)}
    if not found:
        raise ValueError(f"method.freeze: {_no_layer(network, pattern)}")
    return found


def _first_layers(network: nn.Module, last: str) -> set[str]:
    names = _trunk_layers(network)
    if not isinstance(getattr(network, "trunk", None), nn.Sequential):
        raise ValueError(
            f"method.freeze_through={last} needs a trunk that is a sequence of layers, and this one is "
            f"{type(getattr(network, 'trunk', network)).__name__}; name its layers in method.freeze"
        )
    if last not in names:
        raise ValueError(f"method.freeze_through: {_no_layer(network, last)}")
    return {f"trunk.{name}" for name in names[: names.index(last) + 1]}


def _trunk_layers(network: nn.Module) -> list[str]:
    return [name for name, _ in getattr(network, "trunk", nn.Module()).named_children()]


def _no_layer(network: nn.Module, name: str) -> str:
    others = [other for other, _ in network.named_children() if other != "trunk"]
    return (
        f"{name!r} names no layer. The trunk has {', '.join(_trunk_layers(network)) or 'none'}; beside it are "
        f"{', '.join(others)}; parts go by their whole path, as trunk.LAYER.PART"
    )
