"""The sizes that a network's maps have on the way to its features, and the last layer of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.functional.network_input import blank_input, evaluation_mode
from cam_lightning.functional.token_map import token_layout, token_map

_FOUND: WeakKeyDictionary[Any, dict[tuple[int, int], tuple[str | None, ...]]] = WeakKeyDictionary()
"""By network and input size; a network's layers stay what they are."""


def coarsest_layers(network: Any, input_size: tuple[int, int], count: int) -> tuple[str | None, ...]:
    """The names of the last layers of the `count` coarsest map sizes, the finest first.

    The last is None, the features that the head reads. Looked at are the layers that everything passes through, one
    after another: the network's own, and within those what an `nn.Sequential` or a mere wrapper holds. An empty
    image goes through the network once for each input size. Raises ValueError for less than one, and for more sizes
    than there are.
    """
    found = _FOUND.setdefault(network, {})
    if input_size not in found:
        found[input_size] = _last_layers(network, input_size)
    layers = found[input_size]
    if not 1 <= count <= len(layers):
        raise ValueError(
            f"cam.layers={count} asks for the last layers of so many map sizes; this network has {len(layers)} of "
            f"images of {input_size[0]}×{input_size[1]}: {', '.join(map(str, layers))}"
        )
    return layers[-count:]


def at_the_finest(maps: list[Tensor]) -> list[Tensor]:
    """Maps (B, T, h, w) of several layers, each at the size of the finest; bilinear, as boxes are made."""
    size = [max(map_BThw.shape[axis] for map_BThw in maps) for axis in (2, 3)]
    return [
        map_BThw if list(map_BThw.shape[2:]) == size else F.interpolate(map_BThw, size, mode="bilinear")
        for map_BThw in maps
    ]


def _last_layers(network: Any, input_size: tuple[int, int]) -> tuple[str | None, ...]:
    seen: dict[str, list[tuple[int, int]]] = {}
    """In the order in which they finish."""

    blank_13HW = blank_input(network, input_size)
    layout = token_layout(network, blank_13HW)

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            map_BKhw = token_map(output, layout) if isinstance(output, Tensor) else None
            if map_BKhw is not None:
                seen.setdefault(name, []).append((map_BKhw.shape[2], map_BKhw.shape[3]))

        return hook

    with ExitStack() as stack, torch.no_grad(), evaluation_mode(network):
        for name, module in _in_a_row(network):
            stack.callback(module.register_forward_hook(note(name)).remove)
        features = network.forward_features(blank_13HW)
    last: dict[tuple[int, int], str | None] = {}
    for name, sizes in seen.items():
        # One that is used several times has several maps.
        if len(sizes) == 1:
            last.pop(sizes[0], None)
            last[sizes[0]] = name
    coarsest = (features.shape[2], features.shape[3])
    last.pop(coarsest, None)
    return (*last.values(), None)


def _in_a_row(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    children = dict(module.named_children())
    for name, child in children.items():
        yield prefix + name, child
        # A part of the network that only wraps a model of another package: that model's layers.
        is_wrapper = prefix == "" and len(list(child.children())) == 1
        is_wrapped = prefix.count(".") == 1 and len(children) == 1
        if isinstance(child, nn.Sequential) or is_wrapper or is_wrapped:
            yield from _in_a_row(child, f"{prefix}{name}.")
