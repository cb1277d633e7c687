"""Pixel average precision (PxAP): how well a score map ranks object pixels above background pixels.

From integer counts per score bin, so maps can be counted in any order and in parts and give the same number.
Choe et al. 2020, section 3; clovaai/wsolevaluation, evaluation.py.
"""

from __future__ import annotations

import numpy as np

from cam_lightning.functional.kernel.pixel_average_precision import count_scores

_CELLS = 4096


def count_pixels(score_HW: np.ndarray, mask_HW: np.ndarray, thresholds_Q: np.ndarray) -> np.ndarray:
    """How many object (row 0) and background pixels (row 1) fall into each score bin: (2, Q + 1), int64.

    `mask_HW` holds integers: 1 object, 0 background, anything else ignored (the benchmark writes 255). Bin q
    holds thresholds[q] ≤ score < thresholds[q + 1], the last but one ends below 1, and the last is score 1.
    Scores are compared in float64, as they are.

    Raises ValueError for shapes that differ, scores outside [0, 1] or below the first threshold, and
    thresholds that do not rise within [0, 1).
    """
    edges_Q = np.append(np.asarray(thresholds_Q, np.float64), 1.0)
    if len(edges_Q) < 2 or edges_Q[0] < 0 or not (np.diff(edges_Q) > 0).all():
        raise ValueError("thresholds must be at least one, rise strictly and lie in [0, 1)")
    if score_HW.shape != mask_HW.shape or score_HW.ndim != 2:
        raise ValueError(f"map and mask must be (H, W) alike; got {score_HW.shape} and {mask_HW.shape}")
    # Where in the grid to begin the search: the bin of each cell's lower end.
    first_bin = np.searchsorted(edges_Q, np.arange(_CELLS + 1) / _CELLS, side="right") - 1
    counts_2Q = np.zeros((2, len(edges_Q)), np.int64)
    if not count_scores(score_HW, mask_HW, edges_Q, np.maximum(first_bin, 0), counts_2Q):
        low, high = score_HW.min(), score_HW.max()
        raise ValueError(f"scores must lie in [{edges_Q[0]}, 1]; got {low} to {high}")
    return counts_2Q


def precision_and_recall(counts_2Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (Q,), float64, of the pixels that score at least each bin's lower edge.

    `counts_2Q` are sums of `count_pixels`. Precision is NaN where no pixel scores as much. Raises ValueError
    if there is no object pixel at all.
    """
    object_Q, background_Q = counts_2Q[:, ::-1].cumsum(1)[:, ::-1]
    if object_Q[0] == 0:
        raise ValueError("pixel precision needs at least one object pixel in the masks")
    num_Q = object_Q + background_Q
    precision_Q = np.divide(object_Q, num_Q, out=np.full(num_Q.shape, np.nan), where=num_Q > 0)
    return precision_Q, object_Q / object_Q[0]


def pixel_average_precision(counts_2Q: np.ndarray) -> float:
    """The area under the precision-recall curve, as a fraction: precision times the recall gained, summed.

    Each bin counts with the precision at its own lower edge. Raises ValueError as `precision_and_recall`.
    """
    precision_Q, recall_Q = precision_and_recall(counts_2Q)
    gained_Q = recall_Q - np.append(recall_Q[1:], 0.0)
    return float(np.nansum(precision_Q * gained_Q))


def peak_overlap(counts_2Q: np.ndarray) -> tuple[float, int]:
    """The best IoU of all pixels that score at least a bin's lower edge with all object pixels, and that bin.

    The lowest of equally good bins. Zhu et al. 2022 (ECCV, DA-WSOL) call it pIoU. Raises ValueError as
    `precision_and_recall`.
    """
    object_Q, background_Q = counts_2Q[:, ::-1].cumsum(1)[:, ::-1]
    if object_Q[0] == 0:
        raise ValueError("the overlap of pixels needs at least one object pixel in the masks")
    overlap_Q = object_Q / (object_Q[0] + background_Q)
    best = int(overlap_Q.argmax())
    return float(overlap_Q[best]), best
