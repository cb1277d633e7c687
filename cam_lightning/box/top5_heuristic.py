"""The five guesses of the paper's Table 3: two boxes from each of the first two classes, one from the third."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cam_lightning.box.distance_transform import boxes_of_maps, check_options, heatmap_protocol
from cam_lightning.contracts import Proposals
from cam_lightning.functional.distance_transform import RELEASED_LEVELS

_LOOSE, _TIGHT = 0, 1
_GUESSES = ((0, _LOOSE), (0, _TIGHT), (1, _LOOSE), (1, _TIGHT), (2, _LOOSE))
"""Rank of the class, and which of its boxes, in the released order (`ILSVRC_evaluate_bbox.m`)."""


class Top5Heuristic:
    """Loose and tight box of the first and of the second predicted class, and the loose box of the third.

    Section 3.2 of the paper, Table 3; boxes by the released generator, as in `distance_transform`. A class's loose
    box comes before its tight one, as in the authors' code, so the first guess is that of `distance_transform` and
    top-1 errors of the two are equal; top-5 differs: the fourth and fifth class have no guess here. Fewer than three
    maps give the guesses of those classes that there are; a single map (GT-known localization) its loose box.
    """

    def __init__(self, levels: Sequence[int] = RELEASED_LEVELS, rectify: str = "absolute") -> None:
        check_options(levels, rectify)
        self.levels = tuple(levels)
        self.rectify = rectify

    def protocol(self) -> dict[str, str | float]:
        """The rule in words that a results file can hold."""
        return {
            "rule": "top5_heuristic",
            "guesses": "loose 1, tight 1, loose 2, tight 2, loose 3",
            **heatmap_protocol(self.levels, self.rectify),
        }

    def __call__(self, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
        num_maps = map_BThw.shape[1]
        guesses = _GUESSES[:1] if num_maps == 1 else [guess for guess in _GUESSES if guess[0] < num_maps]
        rank_P = tuple(rank for rank, _ in guesses)
        boxes_BT24, degenerate_BT = boxes_of_maps(map_BThw[:, : max(rank_P) + 1], size_B2, self.levels, self.rectify)
        ranks = torch.tensor(rank_P)
        return Proposals(
            boxes_BT24[:, ranks, torch.tensor([box for _, box in guesses])], rank_P, degenerate_BT[:, ranks]
        )
