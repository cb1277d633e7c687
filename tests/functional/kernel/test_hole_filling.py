"""Filling the holes of all levels at once, against filling each level by itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_lightning.functional.kernel.hole_filling import fill_holes
from cam_lightning.functional.kernel.pixel_order import pad


def fill_one_level(region_HW: np.ndarray) -> np.ndarray:
    """Everything that a 4-connected walk from outside over background does not reach."""
    padded = np.pad(region_HW, 1)
    outside = np.zeros_like(padded)
    waiting = [(0, 0)]
    while waiting:
        y, x = waiting.pop()
        inside_frame = 0 <= y < padded.shape[0] and 0 <= x < padded.shape[1]
        if inside_frame and not padded[y, x] and not outside[y, x]:
            outside[y, x] = True
            waiting += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return ~outside[1:-1, 1:-1]


@settings(max_examples=60, deadline=None)
@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 12)), seed=st.integers(0, 2**32 - 1))
def test_equals_filling_each_level(shape: tuple[int, int], seed: int) -> None:
    level_HW = np.random.default_rng(seed).choice(np.array([0, 1, 2, 3, 254, 255], np.uint8), shape)
    padded = pad(level_HW)
    filled = fill_holes(padded)
    for level in {0, 1, 2, 3, 253, 254}:
        np.testing.assert_array_equal(filled[1:-1, 1:-1] > level, fill_one_level(level_HW > level))
    assert padded[1:-1, 1:-1].tolist() == level_HW.tolist()  # the input is left as it is
    assert filled[0].max() == filled[-1].max() == filled[:, 0].max() == filled[:, -1].max() == 0


def test_by_hand() -> None:
    """A crater fills to the lowest point of its rim; over a corner nothing flows out."""
    level_HW = np.array(
        [
            [0, 5, 9, 0, 0],
            [5, 1, 2, 9, 0],
            [0, 9, 3, 7, 0],
            [0, 0, 9, 9, 0],
        ],
        np.uint8,
    )
    assert fill_holes(pad(level_HW))[1:-1, 1:-1].tolist() == [
        [0, 5, 9, 0, 0],
        [5, 5, 5, 9, 0],
        [0, 9, 5, 7, 0],
        [0, 0, 9, 9, 0],
    ]
