"""Integrated gradients: what each pixel adds to the class's score, from an empty image on."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap
from cam_lightning.contracts import Network
from cam_lightning.functional.differentiation import input_gradients
from cam_lightning.functional.integrated_gradients import integrated_gradients
from cam_lightning.functional.network_input import normalised

BASELINES = ("black", "mean")


class IntegratedGradients(GradientMap):
    """Maps (B, T, H, W) at the input's resolution, float32, signed: see `functional/integrated_gradients.py`.

    `baseline`: `black`, as published, or `mean`, the network's mean colour, which is 0 where images are normalised.
    Sundararajan et al. 2017. Costs `steps` times as much as backpropagation. Raises ValueError for another baseline
    and for `batch_size` or `steps` < 1.
    """

    def __init__(self, baseline: str = "black", steps: int = 32, batch_size: int = 8) -> None:
        super().__init__(batch_size)
        if baseline not in BASELINES:
            raise ValueError(f"cam.baseline is one of {', '.join(BASELINES)}; got {baseline!r}")
        if steps < 1:
            raise ValueError(f"cam.steps is how many gradients are averaged; got {steps}")
        self.baseline = baseline
        self.steps = steps

    def protocol(self) -> dict[str, str | int]:
        """The rule in words that a results file can hold."""
        return {"baseline": self.baseline, "steps": self.steps}

    def maps(self, network: Network, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        baseline_B3HW = torch.zeros_like(image_B3HW)
        if self.baseline == "black":
            baseline_B3HW = normalised(baseline_B3HW, *network.normalization).to(image_B3HW.dtype)
        gradient = partial(input_gradients, network, classes_BT=classes_BT)
        return integrated_gradients(image_B3HW, baseline_B3HW, gradient, self.steps)
