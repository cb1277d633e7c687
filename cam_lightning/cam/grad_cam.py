"""Grad-CAM: a map of any layer of any network, from the gradients of the class scores."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import LayerMap
from cam_lightning.functional.differentiation import LayerGradients
from cam_lightning.functional.grad_cam import grad_cam


class GradCam(LayerMap):
    """Maps (B, T, h, w) of one layer, float32: Σ_k α_k A_k, α_k the mean of ∂logit/∂A_k (Selvaraju et al. 2017).

    `layer` is its name, such as `trunk.inception4d`: one more forward, and for every class a backward to that layer
    only. None: the features that the head reads; the head alone runs again. Maps are raw, as all are here: the ReLU
    that the paper sets behind the sum is the box's `rectify`; with `rectify=True` it stands here, at the layer's own
    cells, as published. Raises ValueError for `batch_size` < 1.
    """

    def __init__(self, layer: str | None = None, rectify: bool = False, batch_size: int = 8) -> None:
        super().__init__(layer, batch_size)
        self.rectify = rectify

    def protocol(self) -> dict[str, str | bool | None]:
        """The rule in words that a results file can hold."""
        return {"layer": self.layers[0], "rectify": self.rectify}

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        (layer,) = layers
        map_BThw = grad_cam(layer.features_BKhw, layer.gradient_BTKhw)
        return map_BThw.relu() if self.rectify else map_BThw
