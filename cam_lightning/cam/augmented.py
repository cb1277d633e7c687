"""Any map, averaged over changed copies of the image: test-time augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cam_lightning.contracts import ActivationMap, ClassifierOutput, Network
from cam_lightning.functional.network_input import evaluation_mode


class AugmentedMap:
    """Maps (B, T, h, w), float32: the mean of those that `of` makes of the image, mirrored or not, and rescaled.

    `flip`: left to right, each mirrored image's map mirrored back. `factors`: what the normalised pixels are
    multiplied by; 1 is the image as it is. Costs a forward and a map for each but the image itself. The classes are
    those that the image's own forward ranks. Raw maps are averaged, so their unit stays: of `cam=cam` with average
    pooling the mean plus the bias is the mean logit. grad-cam's `aug_smooth` (flip, and factors 0.9, 1, 1.1) averages
    maps that are each rectified and brought to 0..1 first. Raises ValueError without a factor.
    """

    def __init__(self, of: ActivationMap, flip: bool = True, factors: Sequence[float] = (0.9, 1.0, 1.1)) -> None:
        if not factors:
            raise ValueError("cam.factors names no factor; [1] leaves pixels as they are")
        self.of = of
        self.flip = flip
        self.factors = tuple(factors)

    @property
    def required(self) -> bool:
        """As the map's own."""
        return getattr(self.of, "required", True)

    def protocol(self) -> dict[str, Any]:
        """The rule in words that a results file can hold."""
        of = {f"of/{key}": value for key, value in getattr(self.of, "protocol", dict)().items()}
        return {"of": type(self.of).__name__, **of, "flip": self.flip, "factors": list(self.factors)}

    def unit(self, network: Network) -> str:
        """The map's own: a mean of raw values is one of them."""
        unit = getattr(self.of, "unit", None)
        return "" if unit is None else unit(network)

    def check(self, network: Network, input_size: tuple[int, int]) -> None:
        """Raises what the map itself raises before any image is read."""
        check = getattr(self.of, "check", None)
        if check is not None:
            check(network, input_size)

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        maps = [
            self._map(network, image_B3HW, output, classes_BT, factor, is_flipped)
            for is_flipped in ((False, True) if self.flip else (False,))
            for factor in self.factors
        ]
        return torch.stack(maps).mean(0)

    def _map(
        self,
        network: Any,
        image_B3HW: Tensor,
        output: ClassifierOutput,
        classes_BT: Tensor,
        factor: float,
        is_flipped: bool,
    ) -> Tensor:
        if factor != 1 or is_flipped:
            image_B3HW = (image_B3HW.flip(3) if is_flipped else image_B3HW) * factor
            with torch.no_grad(), evaluation_mode(network):
                output = network(image_B3HW)
        map_BThw = self.of(network, image_B3HW, output, classes_BT).float()
        return map_BThw.flip(3) if is_flipped else map_BThw
