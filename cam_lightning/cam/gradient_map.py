"""What maps from gradients share: a few images at a time, one backward for several maps, and a try before any image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from cam_lightning.contracts import ActivationMap, ClassifierOutput, Network
from cam_lightning.functional.differentiation import LayerGradients, class_logits, layer_activations, layer_gradients
from cam_lightning.functional.map_sizes import coarsest_layers
from cam_lightning.functional.network_input import blank_input, evaluation_mode

Layers = str | Sequence[str | None] | int | None
"""A layer's name as in `get_submodule`; None: the features that the head reads; several of these; or how many: the
last layer of each of the so many coarsest map sizes (`functional/map_sizes.py`)."""

Measure = Callable[[Sequence[str]], AbstractContextManager[None]]
"""What is done within what it gives is done for the maps of these names: what several share, or the rest of one."""


def unmeasured(names: Sequence[str]) -> AbstractContextManager[None]:
    """Measures nothing."""
    return nullcontext()


def map_layer(network: Any, name: str | None) -> str | None:
    """The layer that a map is made of: the one of that name, or, for None, the features that the head reads.

    Where those are no map, as of a head that reads a class token, the network names the layer that stands in for them.
    Raises ValueError where they are none and it knows of no such layer.
    """
    stands_in = getattr(network, "map_layer", None) if name is None else name
    if stands_in == "":
        raise ValueError(
            "what this network's head reads is no map, and no layer stands in for it: name one as cam.layer"
        )
    return stands_in


class GradientMap:
    """A map that asks the network again: a `contracts.ActivationMap` but for its `maps`.

    It sees `batch_size` images at a time, which bounds the memory of what is recorded for the backward. Raises
    ValueError for less than one.
    """

    def __init__(self, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"cam.batch_size is how many images are differentiated at once; got {batch_size}")
        self.batch_size = batch_size

    def maps(self, network: Network, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        """Raw maps (B, T, h, w) of images whose features are already computed."""
        raise NotImplementedError

    def check(self, network: Network, input_size: tuple[int, int]) -> None:
        """Raises, before any image is read, whatever one of this height and width would: it sees an empty one."""
        blank_13HW = blank_input(network, input_size)
        with torch.no_grad(), evaluation_mode(network):
            output = network(blank_13HW)
        self(network, blank_13HW, output, torch.zeros(1, 1, dtype=torch.int64, device=blank_13HW.device))

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        some_at_a_time = [each.split(self.batch_size) for each in (image_B3HW, output.features_BKhw, classes_BT)]
        maps = [self.maps(network, *some) for some in zip(*some_at_a_time, strict=True)]
        return torch.cat(maps).detach().float()


class LayerMap(GradientMap):
    """A map from the activations and gradients of layers: a method says in `combined` what it makes of them.

    The features that the head reads cost no forward: the head alone runs again. Maps of one network that are made
    together (`maps_together`) share forward and backward.
    """

    uses_gradients = True
    """False: `combined` reads activations alone, and nothing is differentiated for it."""

    def __init__(self, layers: Layers, batch_size: int) -> None:
        super().__init__(batch_size)
        self._count = layers if isinstance(layers, int) else None
        names = (layers,) if isinstance(layers, str) or layers is None else layers
        self.layers: tuple[str | None, ...] = () if isinstance(names, int) else tuple(names)
        """By name; none where a number of them is asked for, since which they are depends on the network."""
        if self._count is None and not self.layers:
            raise ValueError("cam.layers names no layer")

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        """Raw maps (B, T, h, w) from what there is of each of the layers; (B, 1, h, w): one for all classes."""
        raise NotImplementedError

    def scores(self, logits_BC: Tensor, classes_BT: Tensor) -> Tensor:
        """What is differentiated (B, T): the logits of the wanted classes."""
        return class_logits(logits_BC, classes_BT)

    def names(self, network: Any, input_size: tuple[int, int]) -> tuple[str | None, ...]:
        """The layers of this network, by name."""
        layers = self.layers if self._count is None else coarsest_layers(network, input_size, self._count)
        return tuple(map_layer(network, name) for name in layers)

    @property
    def layers_in_words(self) -> str:
        """As a results file can hold them."""
        if self._count is not None:
            return f"the last of the {self._count} coarsest map sizes"
        return ", ".join(name or "features" for name in self.layers)

    def maps(self, network: Network, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        (map_BThw,) = _of_layers({"": self}, network, image_B3HW, features_BKhw, classes_BT)
        return map_BThw


class OneLayerMap(LayerMap):
    """What maps of one layer share: its name, and `of_layer` in place of `combined`.

    `layer` is its name, or None: the features that the head reads, as for `cam=grad_cam`. Raises ValueError for
    `batch_size` < 1.
    """

    def __init__(self, layer: str | None = None, batch_size: int = 8) -> None:
        super().__init__(layer, batch_size)

    def protocol(self) -> dict[str, str | None]:
        """The rule in words that a results file can hold."""
        return {"layer": self.layers[0]}

    def of_layer(self, features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
        """Maps (B, T, h, w) from the layer's activations and the gradients of the scores by them."""
        raise NotImplementedError

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        (layer,) = layers
        return self.of_layer(layer.features_BKhw, layer.gradient_BTKhw)


def maps_together(
    cams: Mapping[str, ActivationMap],
    network: Network,
    image_B3HW: Tensor,
    output: ClassifierOutput,
    classes_BT: Tensor,
    measure: Measure = unmeasured,
) -> dict[str, Tensor]:
    """The maps (B, T, h, w) of every one of `cams`, by its name, as each alone makes them.

    Those of layers share one forward and, for each class, one backward, back to the first of their layers only.
    """
    sharing = sharing_maps(cams)
    made: dict[str, Tensor] = {}
    if sharing:
        at_once = min(cam.batch_size for cam in sharing.values())
        images, features, classes = (each.split(at_once) for each in (image_B3HW, output.features_BKhw, classes_BT))
        some_at_a_time = zip(images, features, classes, strict=True)
        parts = [_of_layers(sharing, network, *some, measure) for some in some_at_a_time]
        made = {name: torch.cat(maps) for name, maps in zip(sharing, zip(*parts, strict=True), strict=True)}
    for name, cam in cams.items():
        if name not in made:
            with measure([name]):
                made[name] = cam(network, image_B3HW, output, classes_BT)
    return {name: made[name] for name in cams}


def sharing_maps(cams: Mapping[str, ActivationMap]) -> dict[str, LayerMap]:
    """Those of some maps that `maps_together` makes of one forward and backward."""
    return {name: cam for name, cam in cams.items() if isinstance(cam, LayerMap) and _shares(cam)}


def _shares(cam: LayerMap) -> bool:
    """Whether it is made of what every map of layers is made of: the gradients of the logits."""
    kind = type(cam)
    is_plain = (kind.maps, kind.__call__) == (LayerMap.maps, GradientMap.__call__)
    return is_plain and getattr(cam.scores, "__func__", None) is LayerMap.scores


def _of_layers(
    cams: Mapping[str, LayerMap],
    network: Network,
    image_B3HW: Tensor,
    features_BKhw: Tensor,
    classes_BT: Tensor,
    measure: Measure = unmeasured,
) -> list[Tensor]:
    """The maps (B, T, h, w) of some ways that differentiate the same scores."""
    with measure([*cams]):
        height, width = image_B3HW.shape[2:]
        names = {name: cam.names(network, (height, width)) for name, cam in cams.items()}
        needed = list(dict.fromkeys(layer for own in names.values() for layer in own))
        if any(cam.uses_gradients for cam in cams.values()):
            scores = next(iter(cams.values())).scores
            found = layer_gradients(network, image_B3HW, features_BKhw, classes_BT, needed, scores)
        else:
            found = layer_activations(network, image_B3HW, features_BKhw, needed)
        layers = dict(zip(needed, found, strict=True))
    maps = []
    for name, cam in cams.items():
        # In bfloat16 the cells that hold the maximum would tie.
        with measure([name]), torch.autocast(features_BKhw.device.type, enabled=False):
            map_BThw = cam.combined([layers[layer] for layer in names[name]])
            maps.append(map_BThw.detach().float().expand(-1, classes_BT.shape[1], -1, -1))
    return maps
