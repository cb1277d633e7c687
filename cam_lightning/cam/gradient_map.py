"""What maps from gradients share: a few images at a time, and a try on an empty one before any image is read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.functional.differentiation import LayerGradients, layer_gradients
from cam_lightning.functional.network_input import blank_input, evaluation_mode


class GradientMap:
    """A map that differentiates class scores: a `contracts.ActivationMap` but for its `maps`.

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

    A layer is a name, as in `get_submodule`, or None: the features that the head reads, which costs no forward.
    """

    def __init__(self, layers: Sequence[str | None], batch_size: int) -> None:
        super().__init__(batch_size)
        self.layers = tuple(layers)

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        """Raw maps (B, T, h, w) from what there is of each of `self.layers`."""
        raise NotImplementedError

    def maps(self, network: Network, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        return self.combined(layer_gradients(network, image_B3HW, features_BKhw, classes_BT, self.layers))
