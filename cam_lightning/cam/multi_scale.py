"""Any map at several input sizes, merged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cam_lightning.contracts import ActivationMap, ClassifierOutput, Network
from cam_lightning.functional.multi_scale import MERGES, aligned
from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.functional.post_processing import check_option


class MultiScaleMap:
    """Maps (B, T, h, w), float32, at the cells of the largest input: those of `of` at each of `scales`, merged.

    `scales`: what the input's height and width are multiplied by, rising; the input, as evaluation has resized it, is
    resized bilinearly (smaller ones with antialiasing), so a larger scale shows no more detail, but more cells.
    `merge`: `mean`, or in every cell the `max`; both keep the map's unit. Or `extent`: large objects from small inputs,
    small ones from large inputs, as shares of the maximum (`functional/multi_scale.py`). `flip`: each map is the mean
    with that of the mirrored input, mirrored back. The classes are those that the image's own forward ranks.

    Costs a forward and a map of each size (twice with `flip`), a scale's forward its square of the input's. Raises
    ValueError for scales that do not rise from above 0, and for another merge.
    """

    def __init__(
        self, of: ActivationMap, scales: Sequence[float] = (1.0, 10 / 7, 2.0), merge: str = "mean", flip: bool = False
    ) -> None:
        check_option("cam.merge", merge, MERGES)
        if not scales or scales[0] <= 0 or any(a >= b for a, b in itertools.pairwise(scales)):
            raise ValueError(f"cam.scales rise from above 0, such as [1, 1.5, 2]; got {list(scales)}")
        self.of = of
        self.scales = tuple(scales)
        self.merge = merge
        self.flip = flip

    @property
    def required(self) -> bool:
        """As the map's own."""
        return getattr(self.of, "required", True)

    def protocol(self) -> dict[str, Any]:
        """The rule in words that a results file can hold."""
        of = {f"of/{key}": value for key, value in getattr(self.of, "protocol", dict)().items()}
        scales = [round(scale, 4) for scale in self.scales]
        return {"of": type(self.of).__name__, **of, "scales": scales, "merge": self.merge, "flip": self.flip}

    def unit(self, network: Network) -> str:
        """The map's own, but for `extent`, which divides maps by their maximum."""
        if self.merge == "extent":
            return "share of the maximum"
        unit = getattr(self.of, "unit", None)
        return "" if unit is None else unit(network)

    def check(self, network: Network, input_size: tuple[int, int]) -> None:
        """Raises, before any image is read, what the map itself raises at any of the sizes."""
        check = getattr(self.of, "check", None)
        if check is not None:
            for scale in self.scales:
                check(network, _scaled(input_size, scale))

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        maps = []
        for scale in self.scales:
            size = _scaled((image_B3HW.shape[2], image_B3HW.shape[3]), scale)
            is_own = size == image_B3HW.shape[2:]
            resized = image_B3HW if is_own else F.interpolate(image_B3HW, size, mode="bilinear", antialias=scale < 1)
            map_BThw = self._map(network, resized, output if is_own else None, classes_BT)
            if self.flip:
                map_BThw = (map_BThw + self._map(network, resized.flip(3), None, classes_BT).flip(3)) / 2
            maps.append(map_BThw)
        return MERGES[self.merge](aligned(maps))

    def _map(self, network: Any, image_B3HW: Tensor, output: ClassifierOutput | None, classes_BT: Tensor) -> Tensor:
        if output is None:
            with torch.no_grad(), evaluation_mode(network):
                output = network(image_B3HW)
        return self.of(network, image_B3HW, output, classes_BT).float()


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width, rounded to whole pixels."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
