"""PC1: the first principal component of the units, in place of the classifier's sum (CAM Back Again)."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import OneLayerMap
from cam_lightning.functional.pc1 import pc1


class Pc1(OneLayerMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/pc1.py` (Yasuki and Taki 2024).

    `layer` is its name, or None: the features that the head reads, as for `cam=grad_cam`. Raises ValueError for
    `batch_size` < 1.
    """

    def of_layer(self, features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
        return pc1(features_BKhw, gradient_BTKhw)
