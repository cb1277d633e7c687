"""The seed of a training batch's own randomness: dropout, and what methods draw."""

from __future__ import annotations

_SPREAD = 2_654_435_761
"""Odd, so that what it multiplies keeps its lowest bits apart: those of 2³² over the golden ratio, Knuth's."""


def batch_seed(seed: int, batch: int, rank: int) -> int:
    """A seed of 64 bits, for at most 4,096 ranks; up to 2³² batches of one run and one rank have seeds of their own.

    Also in their lower 32 bits, which are all that torch's generator of CPUs takes: what lies above is mixed into them.
    """
    high, low = divmod((seed * 1_000_003 + batch) * 4_096 + rank, 2**32)
    return high << 32 | low ^ high * _SPREAD % 2**32
