"""From maps to boxes in the original's pixels, against interpolation by torch and a flood fill."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.metric.degenerate_maps import DegenerateMaps

SIZES = torch.tensor([[30, 50], [64, 20], [25, 25]])
INPUT = (16, 24)


def slow_box(map_hw: Tensor, size: tuple[int, int], threshold: float) -> list[int]:
    """Strictly above the share of the maximum, 8-connected, largest by pixels, first among equals."""
    map_HW = F.interpolate(map_hw[None, None], size, mode="bilinear")[0, 0].numpy()
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(map_HW > threshold * map_HW.max()), strict=True)}
    best: set[tuple[int, int]] = set()
    for start in sorted(left):
        if start not in left:
            continue
        component, waiting = set(), [start]
        left.remove(start)
        while waiting:
            y, x = waiting.pop()
            component.add((y, x))
            for neighbour in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if neighbour in left:
                    left.remove(neighbour)
                    waiting.append(neighbour)
        if len(component) > len(best):
            best = component
    ys, xs = [y for y, _ in best], [x for _, x in best]
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


@pytest.fixture
def maps() -> Tensor:
    """(3 images, 4 classes, 5×7 cells)."""
    return torch.randn(3, 4, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_every_map_in_the_pixels_of_its_own_image(maps: Tensor, threshold: float) -> None:
    proposals = LargestComponent(threshold)(maps, SIZES, INPUT)
    assert proposals.boxes_BP4.dtype == torch.float32
    assert proposals.rank_P == (0, 1, 2, 3)
    assert proposals.degenerate_BP.tolist() == [[False] * 4] * 3
    for b, (height, width) in enumerate(SIZES.tolist()):
        for t in range(4):
            assert proposals.boxes_BP4[b, t].tolist() == slow_box(maps[b, t], (height, width), threshold)


def test_frame_input_boxes_at_the_input_size_and_scales_to_the_original(maps: Tensor) -> None:
    """As the WSOL benchmark does. The two frames differ: an input pixel is several original ones."""
    proposals = LargestComponent(0.5, frame="input")(maps, SIZES, INPUT)
    original = LargestComponent(0.5)(maps, SIZES, INPUT)
    for b, (height, width) in enumerate(SIZES.tolist()):
        for t in range(4):
            x0, y0, x1, y1 = slow_box(maps[b, t], INPUT, 0.5)
            fx, fy = width / INPUT[1], height / INPUT[0]
            expected = [x0 * fx, y0 * fy, x1 * fx, y1 * fy]
            assert proposals.boxes_BP4[b, t].tolist() == pytest.approx(expected, rel=1e-6)
    assert not torch.equal(proposals.boxes_BP4, original.boxes_BP4)


def test_by_hand() -> None:
    """A 4×5 map of the image's size: above 0.2 lie a region of four (the corner counts) and one of three."""
    map_HW = torch.tensor(
        [
            [0.3, 0.0, 0.0, 1.0, 0.0],
            [0.3, 0.0, 0.0, 0.5, 0.0],
            [0.3, 0.2, 0.0, 0.9, 0.1],
            [0.0, 0.3, 0.2, 0.0, 0.0],
        ]
    )
    proposals = LargestComponent()(map_HW[None, None], torch.tensor([[4, 5]]), INPUT)
    assert proposals.boxes_BP4.tolist() == [[[0, 0, 2, 4]]]


@pytest.mark.parametrize("frame", ["original", "input"])
def test_a_map_that_names_no_region_is_the_whole_image_and_counted(maps: Tensor, frame: str) -> None:
    maps[0, 1] = 3.7
    maps[1, 0] = 0
    maps[1, 3, 2, 2] = math.nan
    maps[2, 0, 0, 0] = math.inf
    maps[2, 2] = -maps[2, 2].abs() - 1
    bad = {(0, 1), (1, 0), (1, 3), (2, 0), (2, 2)}
    proposals = LargestComponent(frame=frame)(maps, SIZES, INPUT)
    for b, (height, width) in enumerate(SIZES.tolist()):
        for t in range(4):
            assert bool(proposals.degenerate_BP[b, t]) is ((b, t) in bad)
            if (b, t) in bad:
                assert proposals.boxes_BP4[b, t].tolist() == [0, 0, width, height]
    assert int(proposals.degenerate_BP.sum()) == 5
    assert DegenerateMaps.needs_maps


def test_rectify_and_normalise_reach_the_rule() -> None:
    """A map from -9 to 1: minmax at 0.5 keeps what is above -4, unless negative values were cut first."""
    map_hw = torch.tensor([[[[-9.0, -3.0, 0.6, 1.0]]]])
    size = torch.tensor([[1, 4]])
    boxes = {
        rectify: LargestComponent(0.5, "minmax", rectify)(map_hw, size, INPUT).boxes_BP4[0, 0].tolist()
        for rectify in (False, True)
    }
    assert boxes == {False: [1, 0, 4, 1], True: [2, 0, 4, 1]}
    # `none` compares raw values, which need not lie in 0..1.
    assert LargestComponent(-5.0, "none")(map_hw, size, INPUT).boxes_BP4.tolist() == [[[1, 0, 4, 1]]]
    nearest = LargestComponent(0.5, upsample="nearest")(map_hw, torch.tensor([[2, 8]]), INPUT)
    assert nearest.boxes_BP4.tolist() == [[[4, 0, 8, 2]]]


def test_the_maps_stay_as_they_are_and_may_need_gradients(maps: Tensor) -> None:
    before = maps.clone()
    maps.requires_grad_()
    LargestComponent(rectify=True)(maps, SIZES, INPUT)
    assert torch.equal(maps.detach(), before)


def test_the_protocol_says_the_whole_rule() -> None:
    assert LargestComponent(0.35, "minmax", True, "input", "nearest").protocol() == {
        "rule": "largest_component",
        "threshold": 0.35,
        "normalise": "minmax",
        "rectify": "true",
        "frame": "input",
        "upsample": "nearest",
        "connectivity": "8",
    }


def test_options_are_checked_before_any_image() -> None:
    with pytest.raises(ValueError, match="original, input; got 'crop'"):
        LargestComponent(frame="crop")
    for threshold in (-0.1, 1.0, 20.0, math.nan):
        with pytest.raises(ValueError, match=r"box\.threshold"):
            LargestComponent(threshold)
    with pytest.raises(
        ValueError, match=r"box.normalise is one of max, minmax, none, pas, ivr, percentile; got 'softmax'"
    ):
        LargestComponent(normalise="softmax")
    with pytest.raises(ValueError, match=r"box.upsample is one of bilinear, .*; got 'cubic'"):
        LargestComponent(upsample="cubic")


@pytest.mark.parametrize("frame", ["original", "input"])
def test_a_sweep_gives_the_box_of_each_threshold(frame: str) -> None:
    """To the last bit, also where boxes are scaled from the input to the original."""
    thresholds = np.array([0.0, 0.2, 0.35, 0.5, 0.6, 0.75, 0.9])
    map_hw = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"frame": frame, "normalise": "minmax"}
    swept = LargestComponent(**options).sweep(map_hw, (37, 53), (32, 24), thresholds)
    for box_4, threshold in zip(swept, thresholds.tolist(), strict=True):
        alone = LargestComponent(threshold, **options)(map_hw[None, None], torch.tensor([[37, 53]]), (32, 24))
        assert torch.equal(box_4, alone.boxes_BP4[0, 0])
    assert len(swept.unique(dim=0)) > 2
