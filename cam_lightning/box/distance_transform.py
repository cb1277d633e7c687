"""Boxes as the authors' released code makes them: rectangles at three grey levels of the map, thinned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cam_lightning.contracts import Proposals
from cam_lightning.functional.distance_transform import RECTIFICATIONS, RELEASED_LEVELS, loose_and_tight_boxes
from cam_lightning.functional.post_processing import check_option

BOXES = ("loose", "tight")


class DistanceTransform:
    """One box per map, by the released box generator: its first rectangle is loose, its second tight.

    Always in frame `original`, from a bicubic upsampling. Where a map gives one rectangle only, that is its tight
    box too. The authors merge ten crops before; their maps are sums of absolute values, hence
    `rectify="absolute"`. Paper: section 3.2 gives a simpler rule, which is `largest_component`.
    """

    def __init__(
        self, levels: Sequence[int] = RELEASED_LEVELS, rectify: str = "absolute", which: str = "loose"
    ) -> None:
        check_options(levels, rectify)
        check_option("box.which", which, BOXES)
        self.levels = tuple(levels)
        self.rectify = rectify
        self.which = which

    def protocol(self) -> dict[str, str | float]:
        """The rule in words that a results file can hold."""
        return {"rule": "distance_transform", "which": self.which, **heatmap_protocol(self.levels, self.rectify)}

    def __call__(self, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
        boxes_BT24, degenerate_BT = boxes_of_maps(map_BThw, size_B2, self.levels, self.rectify)
        return Proposals(boxes_BT24[:, :, BOXES.index(self.which)], tuple(range(map_BThw.shape[1])), degenerate_BT)


def boxes_of_maps(map_BThw: Tensor, size_B2: Tensor, levels: Sequence[int], rectify: str) -> tuple[Tensor, Tensor]:
    """Loose and tight boxes (B, T, 2, 4) in frame `original`, and which maps name no region (B, T)."""
    B, T, h, w = map_BThw.shape
    boxes_M24, degenerate_M = loose_and_tight_boxes(
        map_BThw.detach().float().cpu().reshape(B * T, h, w).numpy(),
        size_B2.cpu().repeat_interleave(T, dim=0).numpy(),
        levels,
        rectify,
    )
    return torch.from_numpy(boxes_M24).view(B, T, 2, 4), torch.from_numpy(degenerate_M).view(B, T)


def check_options(levels: Sequence[int], rectify: str) -> None:
    """Raises ValueError for what no heatmap can be boxed with: before a run trains, not at its first map."""
    if not levels or not all(isinstance(level, int) and 0 <= level < 255 for level in levels):
        raise ValueError(f"box.levels are grey levels, whole numbers in 0..254; got {list(levels)}")
    check_option("box.rectify", rectify, RECTIFICATIONS)


def heatmap_protocol(levels: Sequence[int], rectify: str) -> dict[str, str | float]:
    """What the protocols of the boxes made from these rectangles have in common."""
    return {
        "levels": " ".join(map(str, levels)),
        "normalise": "max, 8 bit",
        "rectify": rectify,
        "frame": "original",
        "upsample": "bicubic (imresize)",
    }
