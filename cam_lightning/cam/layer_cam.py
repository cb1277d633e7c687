"""LayerCAM: maps of any layer, weighed cell by cell, and several layers fused into one."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import LayerMap, Layers
from cam_lightning.functional.differentiation import LayerGradients
from cam_lightning.functional.layer_cam import fused, layer_cam


class LayerCam(LayerMap):
    """Maps (B, T, h, w), float32: see `functional/layer_cam.py` (Jiang et al. 2021).

    `layers`: a number, the last layers of the so many coarsest map sizes; or names, the deepest last, None for the
    features that the head reads. Of one layer the map is raw; several are fused, each rectified and as a share of its
    maximum, all but the deepest as tanh(`gamma`·share), at the size of the finest. Raises ValueError for
    `batch_size` < 1, for no layer, and for more map sizes than the network has.
    """

    def __init__(self, layers: Layers = 1, gamma: float = 2.0, batch_size: int = 8) -> None:
        super().__init__(layers, batch_size)
        self.gamma = gamma

    def protocol(self) -> dict[str, str | float]:
        """The rule in words that a results file can hold."""
        return {"layers": self.layers_in_words, "gamma": self.gamma}

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        maps = [layer_cam(layer.features_BKhw, layer.gradient_BTKhw) for layer in layers]
        return maps[0] if len(maps) == 1 else fused(maps, self.gamma)
