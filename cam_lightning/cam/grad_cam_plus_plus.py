"""Grad-CAM++: Grad-CAM with each cell's gradient weighed, so that several objects count alike."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import OneLayerMap
from cam_lightning.functional.grad_cam_plus_plus import grad_cam_plus_plus


class GradCamPlusPlus(OneLayerMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/grad_cam_plus_plus.py` (Chattopadhay et al. 2018).

    `layer` is its name, or None: the features that the head reads, as for `cam=grad_cam`. Raises ValueError for
    `batch_size` < 1.
    """

    def of_layer(self, features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
        return grad_cam_plus_plus(features_BKhw, gradient_BTKhw)
