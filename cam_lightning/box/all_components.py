"""Every component of the map above the threshold as a box: an image may show its object several times."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.contracts import Proposals
from cam_lightning.functional.box import rescale
from cam_lightning.functional.component_boxes import component_boxes

GUESSES = 5
"""What top-5 localization counts."""


class AllComponents(LargestComponent):
    """Up to `most` boxes per map, one for each component, the one of most pixels first; options as its base's.

    The largest components of all ranked classes come first, then the second ones, and so on: the first T boxes are
    those of `LargestComponent`, and with them every error of top-1, top-5 and GT-known localization (where there are
    fewer than five classes, the first box stands for the guesses that are lacking). Further boxes are for what asks of
    all, `metric/box_recall.py`, and for people. A map of fewer components has its first box again in place of those
    that it lacks, one that names no region the whole image. Raises ValueError for `most` below 1.
    """

    def __init__(self, threshold: float = 0.2, *, most: int = 10, **options: Any) -> None:
        super().__init__(threshold, **options)
        if most < 1:
            raise ValueError(f"box.most is how many boxes a map may have, at least 1; got {most}")
        self.most = most

    def protocol(self) -> dict[str, str | float]:
        """The rule in words that a results file can hold."""
        return super().protocol() | {"rule": "all_components", "most": self.most}

    def __call__(self, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
        T = map_BThw.shape[1]
        first = super().__call__(map_BThw, size_B2, input_size)
        map_BThw_array = map_BThw.detach().float().cpu().numpy()
        boxes_BMT4 = first.boxes_BP4[:, None].repeat(1, self.most, 1, 1)
        for b, size_2 in enumerate(size_B2.cpu()):
            size: tuple[int, int] = (int(size_2[0]), int(size_2[1]))
            frame_size = size if self.frame == "original" else input_size
            for t in range(T):
                box_M4 = self._components(map_BThw_array[b, t], frame_size)
                if self.frame == "input":
                    box_M4 = rescale(box_M4[None], torch.tensor([frame_size]), size_2[None])[0]
                boxes_BMT4[b, : len(box_M4), t] = box_M4
        order = [*range(T), *[0] * (GUESSES - T), *range(T, T * self.most)]
        boxes_BP4 = boxes_BMT4.flatten(1, 2)[:, order]
        return Proposals(boxes_BP4, tuple(p % T for p in order), first.degenerate_BP.repeat(1, self.most)[:, order])

    def _components(self, map_hw: np.ndarray, size: tuple[int, int]) -> Tensor:
        return torch.from_numpy(component_boxes(map_hw, size, self.threshold, self.rule)[: self.most])
