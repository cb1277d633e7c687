"""Eigen-Grad-CAM: the first principal component of activations times gradients."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import LayerMap
from cam_lightning.functional.differentiation import LayerGradients
from cam_lightning.functional.eigen_grad_cam import eigen_grad_cam


class EigenGradCam(LayerMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/eigen_grad_cam.py`.

    `layer` is its name, or None: the features that the head reads. `centre` takes each unit's mean off first, which
    grad-cam does and the paper does not. Raises ValueError for `batch_size` < 1.
    """

    def __init__(self, layer: str | None = None, centre: bool = False, batch_size: int = 8) -> None:
        super().__init__(layer, batch_size)
        self.centre = centre

    def protocol(self) -> dict[str, str | bool | None]:
        """The rule in words that a results file can hold."""
        return {"layer": self.layers[0], "centre": self.centre}

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        (layer,) = layers
        return eigen_grad_cam(layer.features_BKhw, layer.gradient_BTKhw, self.centre)
