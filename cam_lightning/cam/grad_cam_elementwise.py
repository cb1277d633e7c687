"""Element-wise Grad-CAM: the positive products of activations and gradients, summed."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import OneLayerMap
from cam_lightning.functional.grad_cam_elementwise import grad_cam_elementwise


class GradCamElementwise(OneLayerMap):
    """Maps (B, T, h, w) of one layer, float32, never negative: see `functional/grad_cam_elementwise.py`.

    `layer` is its name, or None: the features that the head reads, as for `cam=grad_cam`. Raises ValueError for
    `batch_size` < 1.
    """

    def of_layer(self, features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
        return grad_cam_elementwise(features_BKhw, gradient_BTKhw)
