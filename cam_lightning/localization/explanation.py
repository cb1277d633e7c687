"""One photo, two classes: what the network received, what it says of both, and where it looks for each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import BoxGenerator, Recipe
from cam_lightning.dataset.pipeline.transform import resized_view
from cam_lightning.functional.finite_output import require_finite_output
from cam_lightning.functional.map_diagnosis import Diagnosis, border_share, centre_bias, diagnose
from cam_lightning.functional.map_similarity import rank_correlation
from cam_lightning.functional.network_input import full_float32, normalised
from cam_lightning.functional.probability import class_probabilities
from cam_lightning.functional.random_weights import randomised


class ClassView(NamedTuple):
    """What the network says of one class; the box in frame `original`."""

    output: int
    """The class's position among the network's outputs."""
    name: str
    rank: int
    """1 for the best."""
    logit: float
    probability: float
    map_hw: Tensor
    """float32, raw, on the CPU."""
    box_4: Tensor
    has_region: bool
    border_share: float
    centre_bias: float
    random_map_hw: Tensor
    """The map that the same network makes with random weights."""
    random_correlation: float
    """Spearman's, of the two maps' cells."""


class Explanation(NamedTuple):
    """One photo: the predicted class, and the one that it is compared with."""

    size: tuple[int, int]
    predicted: ClassView
    other: ClassView | None
    """The expected class, or the second best where it is the predicted one or none is expected; None: there is none."""
    expected: int | None
    """The expected class's output; None where it is not known."""
    true_N4: Tensor
    """True boxes, frame `original`."""
    received_HW3: np.ndarray
    """uint8 RGB: what the network received, after resizing and normalisation, as colours again."""
    diagnosis: Diagnosis


class Explainer:
    """Explains photos with one network, its recipe, and its twin of random weights (`functional/random_weights.py`).

    Raises ValueError, before any photo, for a network whose map cannot be made.
    """

    def __init__(self, network: Any, recipe: Recipe, iou_threshold: float = 0.5, seed: int = 0) -> None:
        check = getattr(recipe.cam, "check", None)
        if check is not None:
            check(network, recipe.input_size)
        self.network, self.recipe, self.iou_threshold = network, recipe, iou_threshold
        self.twin = randomised(network, seed)

    @property
    def unit(self) -> str:
        """What a raw value of the maps is; empty where the map does not say."""
        unit = getattr(self.recipe.cam, "unit", None)
        return "" if unit is None else unit(self.network)

    @torch.no_grad()
    def __call__(
        self, pixels_HW3: np.ndarray, expected: int | None, true_N4: Tensor, name: str = "the photo"
    ) -> Explanation:
        """Explains a photo, uint8 RGB; `expected` is an output of the network, `true_N4` boxes on the photo.

        Raises FloatingPointError, with the photo's `name`, where the network's output is not finite.
        """
        size = (pixels_HW3.shape[0], pixels_HW3.shape[1])
        device = next(self.network.parameters()).device
        pixels_13HW = resized_view(pixels_HW3, None, self.recipe.input_size)[None].to(device)
        with full_float32(device.type):
            image_13HW = normalised(pixels_13HW, *self.network.normalization)
            image_13HW = image_13HW.contiguous(memory_format=torch.channels_last)
            output = self.network(image_13HW)
            require_finite_output(self.network, image_13HW, output.logits_BC, lambda row: name)
            logit_C = output.logits_BC[0].float().cpu()
            order_C = logit_C.argsort(descending=True, stable=True)
            wanted = _two_classes(order_C.tolist(), expected)
            wanted_1T = torch.tensor([wanted], device=device)
            map_Thw = self.recipe.cam(self.network, image_13HW, output, wanted_1T)[0].float().cpu()
            random_Thw = self.recipe.cam(self.twin, image_13HW, self.twin(image_13HW), wanted_1T)[0].float().cpu()
        views = self._views(wanted, logit_C, order_C, map_Thw, random_Thw, size)
        other = views[1] if len(views) > 1 else None
        is_right = None if expected is None else expected == wanted[0]
        predicted = views[0]
        expected_box_4 = other.box_4 if other is not None and is_right is False else None
        diagnosis = diagnose(
            predicted.box_4, predicted.has_region, is_right, true_N4, expected_box_4, self.iou_threshold
        )
        received_HW3 = _colours(image_13HW[0].cpu(), self.network.normalization)
        return Explanation(size, predicted, other, expected, true_N4, received_HW3, diagnosis)

    def _views(
        self,
        wanted: list[int],
        logit_C: Tensor,
        order_C: Tensor,
        map_Thw: Tensor,
        random_Thw: Tensor,
        size: tuple[int, int],
    ) -> list[ClassView]:
        probability_C = class_probabilities(self.network, logit_C[None])[0]
        boxes_T4, has_region_T = _boxes(self.recipe.box, map_Thw, size, self.recipe.input_size)
        correlation_T = rank_correlation(map_Thw, random_Thw)
        names = self.recipe.class_names
        return [
            ClassView(
                output,
                names[output] if names else str(output),
                order_C.tolist().index(output) + 1,
                float(logit_C[output]),
                float(probability_C[output]),
                map_Thw[t],
                boxes_T4[t],
                bool(has_region_T[t]),
                border_share(map_Thw[t]),
                centre_bias(map_Thw[t]),
                random_Thw[t],
                float(correlation_T[t]),
            )
            for t, output in enumerate(wanted)
        ]


def _two_classes(order: list[int], expected: int | None) -> list[int]:
    """The predicted class, and the expected one; where that is the same or not known, the second best."""
    other = expected if expected is not None and expected != order[0] else next(iter(order[1:]), None)
    return [order[0]] if other is None else [order[0], other]


def _boxes(
    generate: BoxGenerator, map_Thw: Tensor, size: tuple[int, int], input_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The first box of each map, each as if it were the best class's, and whether the map names a region."""
    size_T2 = torch.tensor([size]).expand(len(map_Thw), 2)
    found = generate(map_Thw[:, None], size_T2, input_size)
    return found.boxes_BP4[:, 0], ~found.degenerate_BP[:, 0]


def _colours(image_3HW: Tensor, normalization: Any) -> np.ndarray:
    """The network's input as colours again: uint8 RGB (H, W, 3)."""
    mean_3, std_3 = (torch.tensor(value).view(3, 1, 1) for value in normalization)
    return ((image_3HW * std_3 + mean_3) * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
