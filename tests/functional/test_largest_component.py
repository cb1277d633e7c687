"""Largest component boxes against a flood fill written as a plain loop, on maps made to be awkward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cam_lightning.functional.largest_component import largest_component_boxes
from cam_lightning.functional.post_processing import NORMALISATIONS, PostProcessing, score_map
from cam_lightning.functional.threshold_curve import boxes_at_thresholds


def flood_fill_box(region_HW: np.ndarray) -> list[float] | None:
    """Box of the largest 8-connected component, the first in raster order among equals."""
    height, width = region_HW.shape
    seen = np.zeros_like(region_HW)
    best: list[tuple[int, int]] = []
    for y in range(height):
        for x in range(width):
            if not region_HW[y, x] or seen[y, x]:
                continue
            seen[y, x] = True
            component, waiting = [], [(y, x)]
            while waiting:
                a, b = waiting.pop()
                component.append((a, b))
                for c in range(max(a - 1, 0), min(a + 2, height)):
                    for d in range(max(b - 1, 0), min(b + 2, width)):
                        if region_HW[c, d] and not seen[c, d]:
                            seen[c, d] = True
                            waiting.append((c, d))
            if len(component) > len(best):
                best = component
    if not best:
        return None
    ys, xs = [y for y, _ in best], [x for _, x in best]
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def slow_bilinear(map_hw: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every pixel by itself, in float32: along the row first, then between the rows."""
    one, half = np.float32(1), np.float32(0.5)

    def neighbours(i: int, cells: int, pixels: int) -> tuple[int, int, np.float32]:
        scale = np.float32(cells) / np.float32(pixels)
        position = max(scale * (np.float32(i) + half) - half, np.float32(0))
        first = min(int(position), cells - 1)
        return first, min(first + 1, cells - 1), min(position - np.float32(first), one)

    out_HW = np.empty((height, width), np.float32)
    for y in range(height):
        y0, y1, v = neighbours(y, map_hw.shape[0], height)
        for x in range(width):
            x0, x1, u = neighbours(x, map_hw.shape[1], width)
            upper = (one - u) * map_hw[y0, x0] + u * map_hw[y0, x1]
            lower = (one - u) * map_hw[y1, x0] + u * map_hw[y1, x1]
            out_HW[y, x] = (one - v) * upper + v * lower
    return out_HW


def slow_box(
    map_hw: np.ndarray, size: tuple[int, int], threshold: float, normalise: str, rectify: bool
) -> tuple[list[float], bool]:
    """The definition, step by step."""
    whole = [0.0, 0.0, float(size[1]), float(size[0])]
    if not np.isfinite(map_hw).all() or (map_hw == map_hw[0, 0]).all():
        return whole, True
    map_HW = slow_bilinear(map_hw, *size)
    if rectify:
        map_HW = np.maximum(map_HW, np.float32(0))
    low, high = float(map_HW.min()), float(map_HW.max())
    if low == high or (normalise == "max" and high <= 0):
        return whole, True
    values = sorted(map_HW.ravel().tolist())
    ninth, sixth = (values[int(len(values) * share)] for share in (0.9, 0.6))
    zero, one = {
        "max": (0.0, high),
        "minmax": (low, high),
        "none": (0.0, 1.0),
        "pas": (low, ninth),
        "ivr": (sixth, high),
        "percentile": (values[int(len(values) * 0.01)], values[min(int(len(values) * 0.99), len(values) - 1)]),
    }[normalise]
    if not zero < one:
        return whole, True
    level = zero + threshold * (one - zero)
    box = flood_fill_box(map_HW > np.float32(level))
    return (whole, True) if box is None else (box, False)


def one_box(map_hw: object, size: tuple[int, ...], threshold: float = 0.2, **rule: Any) -> tuple[list[float], bool]:
    maps_1hw, size_12 = np.array([map_hw], np.float32), np.array([size])
    boxes_14, degenerate_1 = largest_component_boxes(maps_1hw, size_12, threshold, PostProcessing(**rule))
    assert boxes_14.dtype == np.float32
    return boxes_14[0].tolist(), bool(degenerate_1[0])


few_values = st.sampled_from([-2.0, -1.0, 0.0, 0.2, 0.4, 1.0])
any_values = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=120, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    threshold=st.sampled_from([0.0, 0.2, 0.5, 0.99]),
    poison=st.sampled_from([None, None, None, np.nan, np.inf, -np.inf]),
    normalise=st.sampled_from(sorted(NORMALISATIONS)),
    rectify=st.booleans(),
)
def test_equals_the_definition(
    data: st.DataObject,
    shape: tuple[int, int],
    size: tuple[int, int],
    threshold: float,
    poison: float | None,
    normalise: str,
    rectify: bool,
) -> None:
    map_hw = data.draw(hnp.arrays(np.float32, shape, elements=st.one_of(few_values, any_values)))
    if poison is not None:
        map_hw.flat[data.draw(st.integers(0, map_hw.size - 1))] = poison
    if normalise == "none":
        threshold = 2 * threshold - 0.5  # raw values have no range
    rule = threshold, normalise, rectify
    assert one_box(map_hw, size, threshold, normalise=normalise, rectify=rectify) == slow_box(map_hw, size, *rule)


@settings(max_examples=80, deadline=None)
@given(region_HW=hnp.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 40))))
def test_maps_of_the_image_size_are_left_as_they_are(region_HW: np.ndarray) -> None:
    """Noise at full resolution: many runs, many components, many joins and ties."""
    box, degenerate = one_box(region_HW, region_HW.shape)
    if region_HW.all() or not region_HW.any():
        assert degenerate
    else:
        assert (box, degenerate) == (flood_fill_box(region_HW), False)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 7), (13, 14)])
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (37, 20), (130, 117)])
def test_upsamples_as_torch_does(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """The oracle above is torch's interpolation to float32 rounding, so the kernel, equal to it, is too."""
    map_hw = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    torch_HW = torch.nn.functional.interpolate(torch.from_numpy(map_hw)[None, None], size, mode="bilinear")[0, 0]
    np.testing.assert_allclose(slow_bilinear(map_hw, *size), torch_HW.numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("upsample", ["nearest", "bicubic", "bilinear"])
def test_every_upsampling_against_torch(upsample: str) -> None:
    maps = np.random.default_rng(1).normal(size=(6, 4, 3)).astype(np.float32)
    sizes = np.array([[20, 31], [31, 20], [64, 64], [4, 3], [3, 4], [225, 100]])
    boxes_M4, degenerate_M = largest_component_boxes(maps, sizes, 0.3, PostProcessing(upsample))
    assert not degenerate_M.any()
    for map_hw, size, box in zip(maps, sizes.tolist(), boxes_M4.tolist(), strict=True):
        map_HW = torch.nn.functional.interpolate(torch.from_numpy(map_hw)[None, None], size, mode=upsample)[0, 0]
        assert box == flood_fill_box((map_HW > float(np.float32(0.3 * float(map_HW.max())))).numpy())


def test_by_hand() -> None:
    """Above 0.2: three on the left and one at their corner, against three on the right."""
    map_HW = [
        [0.3, 0.0, 0.0, 1.0, 0.0],
        [0.3, 0.0, 0.0, 0.5, 0.0],
        [0.3, 0.2, 0.0, 0.9, 0.1],
        [0.0, 0.3, 0.2, 0.0, 0.0],
    ]
    assert one_box(map_HW, (4, 5)) == ([0, 0, 2, 4], False)


def test_a_value_on_the_threshold_is_outside() -> None:
    assert one_box([[0.0, 0.5, 1.0, 0.5]], (1, 4), threshold=0.5) == ([2, 0, 3, 1], False)


def test_of_equal_components_the_first_in_raster_order_wins() -> None:
    """The right component has the first pixel of the raster; the left one starts a row below it."""
    map_HW = [[0, 0, 0, 1], [1, 1, 0, 1]]
    assert one_box(map_HW, (2, 4)) == ([3, 0, 4, 2], False)


def test_components_that_meet_late_are_one() -> None:
    """Arms of a U and of a W, each begun as a component of its own, against a solid block of 5 pixels."""
    map_HW = [
        [1, 0, 1, 0, 1, 0, 1, 1],
        [0, 1, 0, 1, 0, 0, 1, 1],
        [0, 0, 0, 0, 0, 0, 1, 0],
    ]
    assert one_box(map_HW, (3, 8)) == ([0, 0, 5, 2], False)
    map_HW[0][0] = 0
    assert one_box(map_HW, (3, 8)) == ([6, 0, 8, 3], False)


@pytest.mark.parametrize(
    ("map_hw", "rule"),
    [
        ([[0.1, 0.1], [0.1, 0.1]], {}),
        ([[0.1, 0.1], [0.1, 0.1]], {"normalise": "minmax"}),
        ([[1.0, np.nan]], {}),
        ([[1.0, np.inf]], {}),
        ([[1.0, -np.inf]], {}),
        ([[np.nan, np.nan]], {}),
        ([[-1.0, -2.0], [-3.0, 0.0]], {}),
        ([[-1.0, -2.0]], {"normalise": "minmax", "rectify": True}),
        ([[0.1, 0.15]], {"normalise": "none"}),
        ([[5.0]], {}),
    ],
)
def test_a_map_that_names_no_region_gets_the_whole_image(map_hw: list[list[float]], rule: dict[str, Any]) -> None:
    """0.1 upsampled to 7 × 9 is not constant to the last bit, so constant maps are found before."""
    assert one_box(map_hw, (7, 9), **rule) == ([0, 0, 9, 7], True)


@pytest.mark.parametrize("upsample", ["nearest", "bicubic", "bilinear"])
@pytest.mark.parametrize("normalise", ["max", "minmax", "pas", "ivr", "percentile"])
@pytest.mark.parametrize("size", [(1, 2), (2, 3), (5, 7), (23, 19)])
def test_the_raw_map_says_whether_it_names_a_region(upsample: str, normalise: str, size: tuple[int, int]) -> None:
    """Constant maps, whose last bits upsampling makes unlike, and cells without a number that a small image lacks."""
    last_cell, middle, constant = np.ones((3, 6, 8), np.float32) * np.float32(0.1)
    last_cell[:, :4] = 0.9  # a region, but for
    last_cell[-1, -1], middle[3, 4] = np.nan, np.inf
    maps = [last_cell, middle, constant, np.full_like(constant, 1 / 3), np.full_like(constant, -7)]
    rule = PostProcessing(upsample, normalise=normalise)
    whole = [0, 0, size[1], size[0]]
    for map_hw in maps:
        assert one_box(map_hw, size, upsample=upsample, normalise=normalise) == (whole, True)
        assert boxes_at_thresholds(map_hw, size, np.array([0.0, 0.2, 0.9]), rule).tolist() == [whole] * 3
        assert not score_map(torch.from_numpy(map_hw), size, rule).any()
    last_cell[-1, -1] = 0.1
    if normalise in ("max", "minmax"):
        box, degenerate = one_box(last_cell, size, 0.5, upsample=upsample, normalise=normalise)
        assert not degenerate
        assert 0 < box[2] < size[1], "the same map with numbers everywhere has a region"


def test_rectifying_changes_what_minmax_means() -> None:
    row = [[-1.0, 0.3, 1.0, 0.1]]
    assert one_box(row, (1, 4), 0.5, normalise="minmax") == ([1, 0, 4, 1], False)
    assert one_box(row, (1, 4), 0.5, normalise="minmax", rectify=True) == ([2, 0, 3, 1], False)


def test_maps_of_one_call_do_not_disturb_each_other() -> None:
    """Sizes alternate between large and small, so buffers hold what the map before left there."""
    rng = np.random.default_rng(2)
    maps = rng.normal(size=(12, 5, 4)).astype(np.float32)
    sizes = np.array([[40, 61], [1, 1], [61, 3], [2, 90], [30, 30], [1, 64]] * 2)
    boxes_M4, degenerate_M = largest_component_boxes(maps, sizes, 0.1, PostProcessing())
    for map_hw, size, box, degenerate in zip(maps, sizes, boxes_M4.tolist(), degenerate_M.tolist(), strict=True):
        assert (box, degenerate) == one_box(map_hw, tuple(size.tolist()), 0.1)


def test_more_pixels_than_sixteen_bits_hold() -> None:
    """A component of 70,000 × 2 pixels below a checkerboard of more than 65,535 single ones."""
    map_HW = np.zeros((9, 70_000), np.float32)
    map_HW[0:6:2, ::2] = 1
    map_HW[7:, 3:] = 1
    assert one_box(map_HW, map_HW.shape) == ([3, 7, 70_000, 9], False)


def test_no_maps() -> None:
    maps, sizes = np.zeros((0, 7, 7), np.float32), np.zeros((0, 2), np.int64)
    boxes_M4, degenerate_M = largest_component_boxes(maps, sizes, 0.2, PostProcessing())
    assert boxes_M4.shape == (0, 4)
    assert degenerate_M.shape == (0,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"map_Mhw": np.zeros((2, 3), np.float32)}, "maps must be"),
        ({"map_Mhw": np.zeros((2, 0, 3), np.float32)}, "maps must be"),
        ({"size_M2": np.array([4, 4])}, "maps must be"),
        ({"size_M2": np.array([[4, 4], [0, 4]])}, "at least one pixel"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": -0.1, "rule": PostProcessing(normalise="minmax")}, "threshold"),
    ],
)
def test_bad_input_is_an_error(changed: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "map_Mhw": np.zeros((2, 3, 3), np.float32),
        "size_M2": np.array([[4, 4], [5, 5]]),
        "threshold": 0.2,
        "rule": PostProcessing(),
    }
    with pytest.raises(ValueError, match=message):
        largest_component_boxes(**(good | changed))
