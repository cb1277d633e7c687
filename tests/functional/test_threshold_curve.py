"""Many thresholds at once against one threshold at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_lightning.functional.largest_component import largest_component_boxes
from cam_lightning.functional.post_processing import NORMALISATIONS, PostProcessing
from cam_lightning.functional.threshold_curve import boxes_at_thresholds, threshold_levels

GRID = np.arange(100) / 100


def random_map(seed: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    map_hw = rng.normal(size=rng.integers(1, 6, 2)).astype(np.float32)
    if kind == "plateaus":
        return np.round(map_hw)
    if kind == "tiny":
        return map_hw * np.float32(1e-38)
    if kind == "nearly flat":
        return np.float32(7) + np.round(map_hw).astype(np.float32) * np.float32(5e-7)
    if kind == "not finite":
        map_hw[0, 0] = rng.choice([np.nan, np.inf, -np.inf])
    return map_hw


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["noise", "plateaus", "tiny", "nearly flat", "not finite"]),
    size=st.tuples(st.integers(1, 23), st.integers(1, 17)),
    thresholds=st.sampled_from([[0.2], [0.0, 0.1, 0.11, 0.9], [0.0, 1e-7, 0.5, 0.999999], GRID.tolist()]),
    normalise=st.sampled_from(sorted(NORMALISATIONS)),
    rectify=st.booleans(),
    upsample=st.sampled_from(["bilinear", "bilinear", "nearest", "bicubic"]),
)
def test_each_box_is_that_of_its_threshold_alone(
    seed: int,
    kind: str,
    size: tuple[int, int],
    thresholds: list[float],
    normalise: str,
    rectify: bool,
    upsample: str,
) -> None:
    """Bit for bit, on plateaus that lie exactly at a threshold too: the run's own rule and one of many are one."""
    map_hw = random_map(seed, kind)
    rule = PostProcessing(upsample, rectify, normalise)
    boxes_Q4 = boxes_at_thresholds(map_hw, size, np.array(thresholds), rule)
    assert boxes_Q4.shape == (len(thresholds), 4)
    for q, threshold in enumerate(thresholds):
        (alone,), _ = largest_component_boxes(map_hw[None], np.array([size]), threshold, rule)
        assert boxes_Q4[q].tolist() == alone.tolist()


def test_by_hand() -> None:
    """Of 4: more than none of it, a quarter, half, but not more than 1."""
    map_hw = np.array([[0, 1, 1.01, 2], [2.01, 4, -1, 3.9]], np.float32)
    level_HW = threshold_levels(map_hw, (2, 4), np.array([0.0, 0.25, 0.5]), PostProcessing())
    assert level_HW.tolist() == [[0, 1, 2, 2], [3, 3, 0, 3]]


@pytest.mark.parametrize("values", [[[3.0, 3.0]], [[np.nan, 1.0]], [[-2.0, -1.0]]])
def test_a_map_that_names_no_region_is_above_nothing(values: list[list[float]]) -> None:
    assert not threshold_levels(np.array(values, np.float32), (5, 4), GRID, PostProcessing()).any()


@pytest.mark.parametrize("thresholds", [[], [0.2, 0.2], [0.3, 0.2], np.arange(256) / 256])
def test_thresholds_must_rise_and_fit_into_a_byte(thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match="1 to 255 numbers that rise"):
        threshold_levels(np.eye(2, dtype=np.float32), (4, 4), np.array(thresholds), PostProcessing())


def test_a_map_has_cells() -> None:
    with pytest.raises(ValueError, match=r"\(h, w\)"):
        threshold_levels(np.zeros((0, 3), np.float32), (4, 4), GRID, PostProcessing())
