"""Counting the pixels of a score map that fall into each bin of scores."""

from __future__ import annotations

import numpy as np
from numba import njit

_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def count_scores(
    score_HW: np.ndarray,
    mask_HW: np.ndarray,
    edges_Q: np.ndarray,
    first_bin: np.ndarray,
    counts_2Q: np.ndarray,
) -> bool:
    """Counts pixels, and says whether all scores that count lie between the first edge and 1."""
    num_cells, last = len(first_bin) - 1, len(edges_Q) - 1
    for y in range(score_HW.shape[0]):
        for x in range(score_HW.shape[1]):
            score = np.float64(score_HW[y, x])
            if not (edges_Q[0] <= score <= 1):  # true of NaN, too
                return False
            if mask_HW[y, x] == 0 or mask_HW[y, x] == 1:
                q = first_bin[int(score * num_cells)]
                while q < last and edges_Q[q + 1] <= score:
                    q += 1
                counts_2Q[0 if mask_HW[y, x] == 1 else 1, q] += 1
    return True
