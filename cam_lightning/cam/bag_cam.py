"""BagCAMs: every cell's own classifier, and all of them averaged; for layers before the last."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import OneLayerMap
from cam_lightning.functional.bag_cam import bag_cam
from cam_lightning.functional.differentiation import LayerGradients


class BagCam(OneLayerMap):
    """Maps (B, T, h, w) of one layer, float32, never negative: see `functional/bag_cam.py` (Zhu et al. 2022).

    `layer` is its name, or None: the features that the head reads, as for `cam=grad_cam`. Raises ValueError for
    `batch_size` < 1.
    """

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        (layer,) = layers
        return bag_cam(layer.features_BKhw, layer.gradient_BTKhw, layer.score_BT)
