"""Boxes as the paper's text has them: the largest component of the map above a share of its maximum."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import Proposals
from cam_lightning.functional.box import rescale
from cam_lightning.functional.kernel.threshold_levels import threshold_levels
from cam_lightning.functional.largest_component import NORMALISATIONS, UPSAMPLINGS, largest_component_boxes
from cam_lightning.functional.max_box_accuracy import largest_boxes

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
    ) -> None:
        # Here, and not at the first map, so that a run with a misspelt option ends before it trains.
        for option, value, choices in (
            ("normalise", normalise, NORMALISATIONS),
            ("frame", frame, FRAMES),
            ("upsample", upsample, UPSAMPLINGS),
        ):
            if value not in choices:
                raise ValueError(f"box.{option} is one of {', '.join(choices)}; got {value!r}")
        if normalise != "none" and not 0 <= threshold < 1:
            raise ValueError(f"box.threshold is a share of the normalised map, in [0, 1); got {threshold}")
        self.threshold = threshold
        self.normalise = normalise
        self.rectify = rectify
        self.frame = frame
        self.upsample = upsample

    def protocol(self) -> dict[str, str | float]:
        """The rule in words that a results file can hold."""
        return {
            "rule": "largest_component",
            "threshold": self.threshold,
            "normalise": self.normalise,
            "rectify": str(self.rectify).lower(),
            "frame": self.frame,
            "upsample": self.upsample,
            "connectivity": "8",
        }

    def __call__(self, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
        B, T, h, w = map_BThw.shape
        size_B2 = size_B2.cpu()
        frame_size_B2 = size_B2 if self.frame == "original" else torch.tensor([input_size]).expand(B, 2)
        boxes_M4, degenerate_M = largest_component_boxes(
            map_BThw.detach().float().cpu().reshape(B * T, h, w).numpy(),
            frame_size_B2.repeat_interleave(T, dim=0).numpy(),
            threshold=self.threshold,
            normalise=self.normalise,
            rectify=self.rectify,
            upsample=self.upsample,
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
        level_HW = threshold_levels(
            map_hw.detach().float().cpu().numpy(), frame_size, thresholds_Q, self.normalise, self.rectify, self.upsample
        )
        boxes_Q4 = torch.from_numpy(largest_boxes(level_HW, "components")[: len(thresholds_Q)]).float()
        if self.frame == "input":
            boxes_Q4 = rescale(boxes_Q4[None], torch.tensor([frame_size]), torch.tensor([size]))[0]
        return boxes_Q4
