"""Missing pixels from their neighbours: a sparse linear system for each colour, by conjugate gradients."""

from __future__ import annotations

import numpy as np
from numba import njit

NEAR, DIAGONAL = 1 / 6, 1 / 12
"""The weights of the eight neighbours, whose sum is 1."""

# No `fastmath`: the last bits would depend on the processor.
_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def fill(value_HW3: np.ndarray, is_missing_HW: np.ndarray, tolerance: float, most_steps: int) -> int:
    """Makes every missing pixel the weighted mean of its neighbours, in place, float64; the steps that it took.

    What lies outside of the image has no weight. Ends where the residual's norm is `tolerance` of what it was with
    zeros in the missing pixels, for every colour. −1: it has not ended after `most_steps`.
    """
    H, W = is_missing_HW.shape
    # A frame of zeros, so that no neighbour needs asking; known pixels are 0 in all but the first right-hand side.
    x, r, p, q = np.zeros((4, H + 2, W + 2, 3))
    weight_HW = np.zeros((H + 2, W + 2))
    sum_HW = np.zeros((H + 2, W + 2))
    for y in range(H):
        for i in range(W):
            if not is_missing_HW[y, i]:
                p[y + 1, i + 1] = value_HW3[y, i]
            weight_HW[y + 1, i + 1] = 1.0
    for y in range(1, H + 1):
        for i in range(1, W + 1):
            near = weight_HW[y - 1, i] + weight_HW[y + 1, i] + weight_HW[y, i - 1] + weight_HW[y, i + 1]
            diagonal = weight_HW[y - 1, i - 1] + weight_HW[y - 1, i + 1] + weight_HW[y + 1, i - 1]
            diagonal += weight_HW[y + 1, i + 1]
            sum_HW[y, i] = NEAR * near + DIAGONAL * diagonal
    _neighbours(p, q)
    rr = np.zeros(3)
    for y in range(1, H + 1):
        for i in range(1, W + 1):
            missing = is_missing_HW[y - 1, i - 1]
            for c in range(3):
                r[y, i, c] = q[y, i, c] if missing else 0.0
                p[y, i, c] = r[y, i, c]
                rr[c] += r[y, i, c] * r[y, i, c]
    goal = rr * tolerance**2
    steps = 0
    while (rr > goal).any():
        if steps == most_steps:
            return -1
        steps += 1
        _neighbours(p, q)
        pq = np.zeros(3)
        for y in range(1, H + 1):
            for i in range(1, W + 1):
                missing = is_missing_HW[y - 1, i - 1]
                for c in range(3):
                    q[y, i, c] = sum_HW[y, i] * p[y, i, c] - q[y, i, c] if missing else 0.0
                    pq[c] += p[y, i, c] * q[y, i, c]
        alpha = np.zeros(3)
        for c in range(3):
            alpha[c] = rr[c] / pq[c] if pq[c] > 0 else 0.0
        new_rr = np.zeros(3)
        for y in range(1, H + 1):
            for i in range(1, W + 1):
                for c in range(3):
                    x[y, i, c] += alpha[c] * p[y, i, c]
                    r[y, i, c] -= alpha[c] * q[y, i, c]
                    new_rr[c] += r[y, i, c] * r[y, i, c]
        beta = np.zeros(3)
        for c in range(3):
            beta[c] = new_rr[c] / rr[c] if rr[c] > 0 else 0.0
        for y in range(1, H + 1):
            for i in range(1, W + 1):
                for c in range(3):
                    p[y, i, c] = r[y, i, c] + beta[c] * p[y, i, c]
        rr = new_rr
    for y in range(H):
        for i in range(W):
            if is_missing_HW[y, i]:
                value_HW3[y, i] = x[y + 1, i + 1]
    return steps


@_kernel
def _neighbours(p: np.ndarray, q: np.ndarray) -> None:
    """The weighted sum of the eight neighbours of every pixel within the frame."""
    for y in range(1, p.shape[0] - 1):
        for i in range(1, p.shape[1] - 1):
            for c in range(3):
                near = p[y - 1, i, c] + p[y + 1, i, c] + p[y, i - 1, c] + p[y, i + 1, c]
                diagonal = p[y - 1, i - 1, c] + p[y - 1, i + 1, c] + p[y + 1, i - 1, c] + p[y + 1, i + 1, c]
                q[y, i, c] = NEAR * near + DIAGONAL * diagonal
