"""Score maps: a class's raw map at an image's size, between 0 and 1, as sweeps over thresholds take it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cam_lightning.functional.largest_component import UPSAMPLINGS

NORMALISATIONS = ("max", "minmax")


def score_map(
    map_hw: Tensor,
    size: tuple[int, int],
    normalise: str = "minmax",
    rectify: bool = False,
    upsample: str = "bilinear",
) -> np.ndarray:
    """Scores (H, W), float64 in [0, 1], of a raw map (h, w): upsample → rectify or not → normalise.

    `max` divides by the maximum and sets what is negative to 0; `minmax` takes the minimum to 0 and the maximum
    to 1. A map with a value that is not finite, a constant map, and, under `max`, one that is nowhere positive name
    no region: all scores are 0, as in the WSOL benchmark (clovaai/wsolevaluation, inference.py).

    Raises ValueError for options other than these.
    """
    if normalise not in NORMALISATIONS or upsample not in UPSAMPLINGS:
        raise ValueError(
            f"a score map is normalised by {' or '.join(NORMALISATIONS)} and upsampled by {', '.join(UPSAMPLINGS)}; "
            f"got {normalise!r} and {upsample!r}"
        )
    # Before upsampling, which gives constant maps other last bits and spreads what is not finite.
    if not map_hw.isfinite().all() or map_hw.amax() == map_hw.amin():
        return np.zeros(size)
    align = None if upsample == "nearest" else False
    map_11HW = torch.nn.functional.interpolate(map_hw.float()[None, None], size, mode=upsample, align_corners=align)
    score_HW = map_11HW[0, 0].double().numpy()
    if rectify:
        score_HW = score_HW.clip(min=0)
    low = score_HW.min() if normalise == "minmax" else 0.0
    high = score_HW.max()
    if high <= low:
        return np.zeros(size)
    return ((score_HW - low) / (high - low)).clip(min=0)
