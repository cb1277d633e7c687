"""SmoothGrad: the image's gradient, averaged over noisy copies of it."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap
from cam_lightning.contracts import Network
from cam_lightning.functional.backprop import backprop
from cam_lightning.functional.differentiation import input_gradients
from cam_lightning.functional.image_noise import check_noise, noisy_images


class SmoothGrad(GradientMap):
    """Maps (B, T, H, W) at the input's resolution, float32: `cam=backprop` of the mean gradient over noisy images.

    Smilkov et al. 2017: `noise` is their noise level σ/(x_max − x_min), 0.1 to 0.2; `samples` 50 in the paper. The
    noise belongs to the image (`functional/image_noise.py`), so maps do not depend on the batch. The largest absolute
    value over the colours is taken of the mean, not averaged. Costs `samples` times as much as backpropagation. Raises
    ValueError for `batch_size` or `samples` < 1 and negative `noise`.
    """

    def __init__(self, noise: float = 0.15, samples: int = 16, batch_size: int = 8) -> None:
        super().__init__(batch_size)
        check_noise(noise, samples)
        self.noise = noise
        self.samples = samples

    def protocol(self) -> dict[str, float]:
        """The rule in words that a results file can hold."""
        return {"noise": self.noise, "samples": self.samples}

    def maps(self, network: Network, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        gradients = (
            input_gradients(network, noisy_B3HW, classes_BT)
            for noisy_B3HW in noisy_images(image_B3HW, self.noise, self.samples)
        )
        sum_BT3HW = next(gradients).float()
        for gradient_BT3HW in gradients:
            sum_BT3HW = sum_BT3HW + gradient_BT3HW
        return backprop(sum_BT3HW / self.samples)
