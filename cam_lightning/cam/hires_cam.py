"""HiResCAM: activations times gradients, with no average over the cells."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import OneLayerMap
from cam_lightning.functional.hires_cam import hires_cam


class HiResCam(OneLayerMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/hires_cam.py` (Draelos and Carin 2020).

    `layer` is its name, or None: the features that the head reads, as for `cam=grad_cam`. Raises ValueError for
    `batch_size` < 1.
    """

    def of_layer(self, features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
        return hires_cam(features_BKhw, gradient_BTKhw)
