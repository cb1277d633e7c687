"""Eigen-Grad-CAM: the first principal component of activations times gradients."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.eigen_cam import EigenCam
from cam_lightning.functional.differentiation import LayerGradients
from cam_lightning.functional.eigen_grad_cam import eigen_grad_cam


class EigenGradCam(EigenCam):
    """Maps (B, T, h, w) of one layer, float32: see `functional/eigen_grad_cam.py`.

    `layer` is its name, or None: the features that the head reads. `centre` takes each unit's mean off first, which
    grad-cam does and the paper does not. Raises ValueError for `batch_size` < 1.
    """

    uses_gradients = True

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        (layer,) = layers
        return eigen_grad_cam(layer.features_BKhw, layer.gradient_BTKhw, self.centre)
