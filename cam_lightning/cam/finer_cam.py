"""Finer-CAM: any map from gradients, of the difference between a class and those most like it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cam_lightning.cam.gradient_map import LayerMap
from cam_lightning.functional.differentiation import LayerGradients
from cam_lightning.functional.finer_cam import class_differences


class FinerCam(LayerMap):
    """Maps (B, T, h, w) as `of` makes them, a map from the gradients of layers, with a difference of logits as score.

    y_c less `strength` times the mean logit of the `references` classes whose logits are nearest; see
    `functional/finer_cam.py` (Zhang et al. 2025). Raises ValueError for another kind of map, for less than one
    reference, and for a network of one class.
    """

    def __init__(self, of: LayerMap, references: int = 3, strength: float = 0.6) -> None:
        if not isinstance(of, LayerMap) or not of.uses_gradients:
            raise ValueError(
                f"cam.of is a map from the gradients of layers, such as grad_cam or layer_cam; got {type(of).__name__}"
            )
        if references < 1:
            raise ValueError(f"cam.references is how many classes each is compared with; got {references}")
        super().__init__(of.layers or None, of.batch_size)
        self.of = of
        self.references = references
        self.strength = strength

    def protocol(self) -> dict[str, Any]:
        """The rule in words that a results file can hold."""
        of = {f"of/{key}": value for key, value in getattr(self.of, "protocol", dict)().items()}
        return {"of": type(self.of).__name__, **of, "references": self.references, "strength": self.strength}

    def names(self, network: Any, input_size: tuple[int, int]) -> tuple[str | None, ...]:
        return self.of.names(network, input_size)

    def scores(self, logits_BC: Tensor, classes_BT: Tensor) -> Tensor:
        return class_differences(logits_BC, classes_BT, self.references, self.strength)

    def combined(self, layers: list[LayerGradients]) -> Tensor:
        return self.of.combined(layers)
