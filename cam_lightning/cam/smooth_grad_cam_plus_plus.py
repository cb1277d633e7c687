"""Smooth Grad-CAM++: Grad-CAM++ with derivatives averaged over noisy images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap, map_layer
from cam_lightning.functional.differentiation import layer_activations, layer_gradients
from cam_lightning.functional.image_noise import check_noise, noisy_images
from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.functional.smooth_grad_cam_plus_plus import smooth_grad_cam_plus_plus


class SmoothGradCamPlusPlus(GradientMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/smooth_grad_cam_plus_plus.py` (Omeiza et al. 2019).

    `noise` is the standard deviation as a share of the range of an image's values (SmoothGrad's noise level; torchcam's
    `std` is in units of the normalised image), drawn anew `samples` times from the image's own seed, so that maps do
    not depend on the batch. Costs `samples` forwards, and for every class as many backwards to the layer. Raises
    ValueError for `batch_size` or `samples` < 1 and negative `noise`.
    """

    def __init__(self, layer: str | None = None, noise: float = 0.15, samples: int = 8, batch_size: int = 8) -> None:
        super().__init__(batch_size)
        check_noise(noise, samples)
        self.layer = layer
        self.noise = noise
        self.samples = samples

    def protocol(self) -> dict[str, str | float | None]:
        """The rule in words that a results file can hold."""
        return {"layer": self.layer, "noise": self.noise, "samples": self.samples}

    def maps(self, network: Any, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        name = map_layer(network, self.layer)
        (clean,) = layer_activations(network, image_B3HW, features_BKhw, [name])
        gradients = []
        for noisy_B3HW in noisy_images(image_B3HW, self.noise, self.samples):
            noisy_BKhw = features_BKhw
            if name is None:
                with torch.no_grad(), evaluation_mode(network):
                    noisy_BKhw = network.forward_features(noisy_B3HW)
            (layer,) = layer_gradients(network, noisy_B3HW, noisy_BKhw, classes_BT, [name])
            gradients.append(layer.gradient_BTKhw)
        with torch.autocast(image_B3HW.device.type, enabled=False):
            return smooth_grad_cam_plus_plus(clean.features_BKhw, torch.stack(gradients))
