"""RefineCAM: the maps of several layers, multiplied."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cam_lightning.cam.gradient_map import LayerMap, Layers
from cam_lightning.functional.differentiation import LayerGradients
from cam_lightning.functional.refine_cam import refine_cam


class RefineCam(LayerMap):
    """Maps (B, T, h, w) in [0, 1], at the size of the finest of `layers`: what `of` makes of each, multiplied.

    `layers`: a number, the last layers of the so many coarsest map sizes, or names, None for the features that the
    head reads; see `functional/refine_cam.py` (Domeniconi et al. 2026). `of` is a map from layers, Grad-CAM++ as
    published; its own layer has no say. Raises ValueError for another kind of map, and for more map sizes than the
    network has.
    """

    def __init__(self, of: LayerMap, layers: Layers = 3) -> None:
        if not isinstance(of, LayerMap):
            raise ValueError(f"cam.of is a map from layers, such as grad_cam_plus_plus; got {type(of).__name__}")
        super().__init__(layers, of.batch_size)
        self.of = of
        self.uses_gradients = of.uses_gradients
        self.scores = of.scores  # type: ignore[method-assign]

    def protocol(self) -> dict[str, Any]:
        """The rule in words that a results file can hold."""
        told: dict[str, Any] = getattr(self.of, "protocol", dict)()
        of = {f"of/{key}": value for key, value in told.items() if key.rpartition("/")[2] not in ("layer", "layers")}
        return {"of": type(self.of).__name__, **of, "layers": self.layers_in_words}

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        return refine_cam([self.of.combined([layer]) for layer in layers])
