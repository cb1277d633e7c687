"""A random map, the control: what looks like the image and knows nothing of the class."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap, map_layer
from cam_lightning.contracts import Network
from cam_lightning.functional.cam import class_activation_map
from cam_lightning.functional.differentiation import layer_activations
from cam_lightning.functional.image_noise import image_seed


class RandomMap(GradientMap):
    """Maps (B, T, h, w) of one layer, float32: its activations, weighed by uniform numbers in −1..1 for each class.

    As `RandomCAM` of grad-cam, but seeded by the image's pixels, the class and `seed`: the same in every batch, order
    and run. `layer` is its name, or None: the features that the head reads. Raises ValueError for `batch_size` < 1.
    """

    def __init__(self, layer: str | None = None, seed: int = 0, batch_size: int = 8) -> None:
        super().__init__(batch_size)
        self.layer = layer
        self.seed = seed

    def protocol(self) -> dict[str, str | int | None]:
        """The rule in words that a results file can hold."""
        return {"layer": self.layer, "seed": self.seed}

    def maps(self, network: Network, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        (layer,) = layer_activations(network, image_B3HW, features_BKhw, [map_layer(network, self.layer)])
        K = layer.features_BKhw.shape[1]
        weight_BTK = torch.stack(
            [
                torch.stack([self._weights(image_seed(image_3HW), class_, K) for class_ in classes_T])
                for image_3HW, classes_T in zip(image_B3HW, classes_BT.tolist(), strict=True)
            ]
        )
        with torch.autocast(image_B3HW.device.type, enabled=False):
            return class_activation_map(layer.features_BKhw, weight_BTK.to(layer.features_BKhw))

    def _weights(self, image: int, class_: int, count: int) -> Tensor:
        # The generator keeps 32 bits of its seed: all three have to be in those.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{image} {class_} {self.seed}".encode()))
        return torch.rand(count, generator=generator) * 2 - 1
