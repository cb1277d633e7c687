"""FullGrad: what the image and every bias of the network add to the class's score."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap
from cam_lightning.functional.differentiation import map_per_class
from cam_lightning.functional.full_grad import full_grad, layer_biases


class FullGrad(GradientMap):
    """Maps (B, T, H, W) at the input's resolution, float32, never negative: see `functional/full_grad.py`.

    From the gradients by the image and by every convolution's and batch normalisation's output (Srinivas and Fleuret
    2019). It supposes a network whose layers are linear or linear in parts. Costs a forward, and for every class a
    backward; `batch_size` bounds the memory, which holds every layer's gradient. Raises ValueError for `batch_size`
    < 1 and for a layer that is used more than once.
    """

    def __init__(self, batch_size: int = 4) -> None:
        super().__init__(batch_size)

    def maps(self, network: Any, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        biases = layer_biases(network)
        size = (image_B3HW.shape[2], image_B3HW.shape[3])

        def made(image_gradient_B3HW: Tensor, gradients: list[Tensor]) -> Tensor:
            parts = [image_gradient_B3HW * image_B3HW]
            parts += [
                bias_K[:, None, None] * gradient for bias_K, gradient in zip(biases.values(), gradients, strict=True)
            ]
            return full_grad(parts, size)

        return map_per_class(network, image_B3HW, classes_BT, list(biases), made)
