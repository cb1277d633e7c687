"""Local response normalisation of pixels whose channels lie side by side, in one pass forward and one backward."""

from __future__ import annotations

import numpy as np
from numba import njit

# No `fastmath`: features would depend on the processor.
_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def normalise_pixels(x_PK: np.ndarray, alpha: float, y_PK: np.ndarray) -> None:
    """Writes x / s^0.75 of each pixel, s = 1 + alpha · the sum of the squares of 5 neighbouring channels."""
    P, K = x_PK.shape
    square, scale = np.zeros(K + 4, x_PK.dtype), np.empty(K, x_PK.dtype)
    for p in range(P):
        _scale(x_PK[p], alpha, square, scale)
        for k in range(K):
            root = np.sqrt(scale[k])
            y_PK[p, k] = x_PK[p, k] / (root * np.sqrt(root))


@_kernel
def differentiate_pixels(x_PK: np.ndarray, alpha: float, gradient_PK: np.ndarray, out_PK: np.ndarray) -> None:
    """Writes the gradient for x, given that for what `normalise_pixels` made of it; it may be written in place.

    dx = g / s^0.75 − 1.5 · alpha · x · the sum of g · x / s^1.75 over 5 neighbouring channels.
    """
    P, K = x_PK.shape
    square, scale, share = np.zeros(K + 4, x_PK.dtype), np.empty(K, x_PK.dtype), np.zeros(K + 4, x_PK.dtype)
    factor = x_PK.dtype.type(1.5 * alpha)
    for p in range(P):
        _scale(x_PK[p], alpha, square, scale)
        for k in range(K):
            root = np.sqrt(scale[k])
            passed = gradient_PK[p, k] / (root * np.sqrt(root))
            share[k + 2] = passed * x_PK[p, k] / scale[k]
            scale[k] = passed
        for k in range(K):
            neighbours = share[k] + share[k + 1] + share[k + 2] + share[k + 3] + share[k + 4]
            out_PK[p, k] = scale[k] - factor * x_PK[p, k] * neighbours


@_kernel
def _scale(x_K: np.ndarray, alpha: float, square: np.ndarray, scale: np.ndarray) -> None:
    """Writes s of one pixel; `square` has two zeros at either end."""
    one, factor = x_K.dtype.type(1), x_K.dtype.type(alpha)
    for k in range(len(x_K)):
        square[k + 2] = x_K[k] * x_K[k]
    for k in range(len(x_K)):
        scale[k] = one + factor * (square[k] + square[k + 1] + square[k + 2] + square[k + 3] + square[k + 4])
