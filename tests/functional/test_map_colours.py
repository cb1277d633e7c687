"""Colours follow values on a scale that is given, and negative values are seen where they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from cam_lightning.functional.map_colours import (
    BAR_HEIGHT,
    CHOICES,
    DIVERGING,
    colour_bar,
    coloured,
    largest_value,
    shown_values,
)
from cam_lightning.functional.overlay import heat_map

MAP = np.array([[-6.0, 0.0, 1.0], [0.0, 3.0, 0.0]], np.float32)


def test_the_scale_of_a_map_is_its_own_greatest_value() -> None:
    assert largest_value(MAP, "inferno") == 3
    assert largest_value(MAP, DIVERGING) == 6
    assert largest_value(-MAP[:, :1], "viridis") == 6


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.1, 0.0])
def test_a_map_that_names_no_region_shows_nothing(value: float) -> None:
    map_hw = np.full((2, 3), value)
    if not np.isfinite(value):
        map_hw[0, 0] = 1
    for colour_map in ("turbo", DIVERGING):
        assert largest_value(map_hw, colour_map) == 0
        assert not shown_values(map_hw, (5, 9), colour_map, 2.0).any()
        assert not shown_values(map_hw, (5, 9), colour_map, None).any()
    assert largest_value(-np.ones((1, 2)) * [1, 2], "turbo") == 0
    assert largest_value(-np.ones((1, 2)) * [1, 2], DIVERGING) == 2


def test_values_are_shares_of_the_limit() -> None:
    assert shown_values(MAP, (2, 3), "inferno", 4).tolist() == [[0, 0, 0.25], [0, 0.75, 0]]
    assert shown_values(MAP, (2, 3), DIVERGING, 4).tolist() == [[-1, 0, 0.25], [0, 0.75, 0]]
    assert shown_values(MAP, (2, 3), DIVERGING, None).tolist() == [[-1, 0, pytest.approx(1 / 6)], [0, 0.5, 0]]
    assert shown_values(MAP, (2, 3), "inferno", 2).max() == 1


@pytest.mark.parametrize("colour_map", CHOICES)
def test_equal_values_have_equal_colours_on_one_scale(colour_map: str) -> None:
    """Of two maps, one twice as high: at a limit they differ, and where they are equal the colours are."""
    image = np.full((2, 3, 3), 100, np.uint8)
    one, other = (heat_map(image, values, colour_map, 8.0) for values in (MAP, MAP * [[2, 2, 2], [1, 1, 1]]))
    assert np.array_equal(one[1], other[1])
    assert not np.array_equal(one[0, 2], other[0, 2])
    assert not np.array_equal(one[1, 1], one[0, 2])


def test_evidence_for_is_red_and_against_is_blue() -> None:
    image = np.full((2, 3, 3), 100, np.uint8)
    picture = coloured(image, shown_values(MAP, (2, 3), DIVERGING, None), DIVERGING).astype(int)
    assert picture[0, 0, 2] > picture[0, 0, 0]
    assert picture[1, 1, 0] > picture[1, 1, 2]
    assert picture[0, 1].tolist() == [100, 100, 100]


@pytest.mark.parametrize("width", [40, 120, 700])
@pytest.mark.parametrize("colour_map", CHOICES)
def test_the_bar_has_the_colours_of_its_scale(colour_map: str, width: int) -> None:
    bar = colour_bar(width, 12.5, "logit per cell", colour_map)
    assert bar.shape == (BAR_HEIGHT, width, 3)
    grey = np.full((1, 1, 3), 128, np.uint8)
    assert np.array_equal(bar[10, width - 9], coloured(grey, np.ones((1, 1), np.float32), colour_map)[0, 0])
    low = -1.0 if colour_map == DIVERGING else 1e-9
    assert np.array_equal(bar[10, 8], coloured(grey, np.full((1, 1), low, np.float32), colour_map)[0, 0])
