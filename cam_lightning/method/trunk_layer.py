"""Layers of a trunk by name, for methods that read more than its last one; and how a method's own layers start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.functional.network_input import blank_input, evaluation_mode


def require_trunk(network: nn.Module, method: str) -> None:
    """Raises ValueError, with the method's name, for a network that is not a trunk and a head."""
    if not isinstance(network, TrunkNetwork):
        raise ValueError(f"method={method} needs a network of a trunk and a head; {type(network).__name__} is none")


def layer_named(trunk: nn.Module, name: str, option: str) -> nn.Module:
    """A layer of the trunk, itself for the empty name; raises ValueError that lists the first level for no such one."""
    try:
        return trunk.get_submodule(name)
    except AttributeError as error:
        has = ", ".join(child for child, _ in trunk.named_children())
        raise ValueError(f"method.network_part.{option}: {name} is no layer of the trunk, which has {has}") from error


@contextmanager
def captured(trunk: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """What some layers give while the trunk runs within, by name in the order in which they ran.

    As they gave it: a layer behind may change it in place, so it is copied.
    """
    given: dict[str, Tensor] = {}

    def keep(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_layer: nn.Module, _input: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                given[name] = output.clone()

        return trunk.get_submodule(name).register_forward_hook(hook)

    handles = [keep(name) for name in names]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()


def layer_shapes(trunk: nn.Module, min_size: int, names: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Channels, height and width of what some layers give of a small empty image, in the order in which they ran."""
    # Of tokens: whole patches, and the one size of a trunk that takes no other.
    multiple = getattr(trunk, "multiple", 1)
    side = -(-(min_size + 64) // multiple) * multiple
    with torch.no_grad(), evaluation_mode(trunk), captured(trunk, names) as given:
        trunk(blank_input(trunk, getattr(trunk, "only_size", None) or (side, side)))
    return {name: tuple(feature.shape[1:]) for name, feature in given.items()}  # type: ignore[misc]


def steps(trunk: nn.Module, min_size: int) -> dict[str, tuple[int, int, int]]:
    """The trunk's layers of the first level that has several, with what each gives, as `layer_shapes`."""
    place, level = "", trunk
    while len(children := list(level.named_children())) == 1:
        place, level = f"{place}{children[0][0]}.", children[0][1]
    return layer_shapes(trunk, min_size, [f"{place}{name}" for name, _ in children])


def before_the_last(trunk: nn.Module, min_size: int) -> tuple[str, str]:
    """Where SPG looks by itself: the layer whose map was last finer than the other's, and the last convolution's input.

    `vgg16_gap` has conv4_3 and conv5_3 there, `inception_v3_gap` Mixed_5d and Mixed_6e, both as published. Where no
    map is finer, the first is the second. Raises ValueError for a trunk of one layer.
    """
    shape_of = steps(trunk, min_size)
    names = list(shape_of)
    convolutions = [
        number
        for number, name in enumerate(names)
        if any(isinstance(module, nn.Conv2d) for module in trunk.get_submodule(name).modules())
    ]
    if not convolutions or convolutions[-1] == 0:
        raise ValueError("this trunk has one layer with a convolution: name method.network_part.layers within it")
    deep = convolutions[-1] - 1
    cells = shape_of[names[deep]][1] * shape_of[names[deep]][2]
    finer = [name for name in names[:deep] if shape_of[name][1] * shape_of[name][2] > cells]
    return (finer or names[deep : deep + 1])[-1], names[deep]


def xavier_(branch: nn.Module) -> None:
    """Convolutions start as Xavier's, biases at 0."""
    for layer in branch.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
