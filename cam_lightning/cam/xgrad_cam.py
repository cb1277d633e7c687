"""XGrad-CAM: Grad-CAM whose weights are averaged where a unit is active."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import LayerMap
from cam_lightning.functional.differentiation import LayerGradients
from cam_lightning.functional.xgrad_cam import xgrad_cam


class XGradCam(LayerMap):
    """Maps (B, T, h, w) of one layer, float32: see `functional/xgrad_cam.py` (Fu et al. 2020).

    `layer` is its name, or None: the features that the head reads, as for `cam=grad_cam`. Raises ValueError for
    `batch_size` < 1.
    """

    def __init__(self, layer: str | None = None, batch_size: int = 8) -> None:
        super().__init__(layer, batch_size)

    def protocol(self) -> dict[str, str | None]:
        """The rule in words that a results file can hold."""
        return {"layer": self.layers[0]}

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        (layer,) = layers
        return xgrad_cam(layer.features_BKhw, layer.gradient_BTKhw)
