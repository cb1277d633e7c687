"""Average precision of one label among several: how well scores put the images that have it first."""

from __future__ import annotations

import numpy as np


def average_precision(score_N: np.ndarray, target_N: np.ndarray) -> float:
    """The sum over the ranking of (recall − recall before) · precision; images of equal score count at once.

    `target_N` is 1 where the label holds, 0 where it does not, and NaN where that is not known: such an image is left
    out. NaN where no image has the label, since then there is no recall.
    """
    known_N = ~np.isnan(target_N)
    score_N, holds_N = np.asarray(score_N)[known_N], np.asarray(target_N)[known_N] > 0.5
    if not holds_N.any():
        return float("nan")
    order = np.argsort(-score_N, kind="stable")
    hits_N = np.cumsum(holds_N[order])
    ends = np.flatnonzero(np.append(np.diff(score_N[order]) != 0, True))
    recall, precision = hits_N[ends] / hits_N[-1], hits_N[ends] / (ends + 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
