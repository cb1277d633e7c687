"""XGrad-CAM: Grad-CAM whose weights are averaged where a unit is active."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import OneLayerMap
from cam_lightning.functional.xgrad_cam import xgrad_cam


class XGradCam(OneLayerMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/xgrad_cam.py` (Fu et al. 2020).

    `layer` is its name, or None: the features that the head reads, as for `cam=grad_cam`. Raises ValueError for
    `batch_size` < 1.
    """

    def of_layer(self, features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
        return xgrad_cam(features_BKhw, gradient_BTKhw)
