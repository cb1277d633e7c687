"""Boxes as the paper's text has them: the largest component of the map above a share of its maximum."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import Proposals
from cam_lightning.functional.box import rescale
from cam_lightning.functional.largest_component import largest_component_boxes
from cam_lightning.functional.post_processing import PostProcessing, check_option
from cam_lightning.functional.threshold_curve import boxes_at_thresholds

FRAMES = ("original", "input")


class LargestComponent:
    """One box per map: upsample → rectify or not → normalise → above the threshold → largest component.

    Above is strictly above. The component is 8-connected and largest by its number of pixels. With
    `frame="original"` the map is upsampled to the image file's own size; with `"input"` to the network's
    input size, as the WSOL benchmark does, and the box is then scaled to the original. Zhou et al. 2016,
    section 3.2.
    """

    def __init__(
        self,
        threshold: float = 0.2,
        normalise: str = "max",
        rectify: bool = False,
        frame: str = "original",
        upsample: str = "bilinear",
        percentile: float | None = None,
    ) -> None:
        # Here, and not at the first map, so that a run with a misspelt option ends before it trains.
        check_option("box.frame", frame, FRAMES)
        self.rule = PostProcessing(upsample, rectify, normalise, where="box.", percentile=percentile)
        self.rule.check_threshold(threshold, where="box.")
        self.threshold = threshold
        self.frame = frame

    def protocol(self) -> dict[str, str | float]:
        """The rule in words that a results file can hold."""
        return {
            "rule": "largest_component",
            "threshold": self.threshold,
            "normalise": self.rule.normalise,
            "rectify": str(self.rule.rectify).lower(),
            "frame": self.frame,
            "upsample": self.rule.upsample,
            "connectivity": "8",
            **({} if self.rule.percentile is None else {"percentile": self.rule.percentile}),
        }

    def __call__(self, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
        B, T, h, w = map_BThw.shape
        size_B2 = size_B2.cpu()
        frame_size_B2 = size_B2 if self.frame == "original" else torch.tensor([input_size]).expand(B, 2)
        boxes_M4, degenerate_M = largest_component_boxes(
            map_BThw.detach().float().cpu().reshape(B * T, h, w).numpy(),
            frame_size_B2.repeat_interleave(T, dim=0).numpy(),
            self.threshold,
            self.rule,
        )
        boxes_BP4 = torch.from_numpy(boxes_M4).view(B, T, 4)
        if self.frame == "input":
            boxes_BP4 = rescale(boxes_BP4, frame_size_B2, size_B2)
        return Proposals(boxes_BP4, tuple(range(T)), torch.from_numpy(degenerate_M).view(B, T))

    def sweep(
        self, map_hw: Tensor, size: tuple[int, int], input_size: tuple[int, int], thresholds_Q: np.ndarray
    ) -> Tensor:
        """Boxes (Q, 4), frame `original`, of one map: each is what `__call__` gives at that threshold.

        Thresholds rise, and there are at most 255; `size` is the image's height and width.
        """
        frame_size = size if self.frame == "original" else input_size
        map_hw = map_hw.detach().float().cpu()
        boxes_Q4 = torch.from_numpy(boxes_at_thresholds(map_hw.numpy(), frame_size, thresholds_Q, self.rule)).float()
        if self.frame == "input":
            boxes_Q4 = rescale(boxes_Q4[None], torch.tensor([frame_size]), torch.tensor([size]))[0]
        return boxes_Q4
