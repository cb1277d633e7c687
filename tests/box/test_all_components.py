"""Every component a box, against a flood fill of torch's interpolation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cam_lightning.box.all_components import AllComponents
from cam_lightning.box.largest_component import LargestComponent

SIZES = torch.tensor([[30, 50], [64, 20], [25, 31]])
INPUT = (16, 24)


def slow_boxes(map_hw: Tensor, size: tuple[int, int], threshold: float) -> list[list[int]]:
    """Of all 8-connected components above the share of the maximum, by pixels, first in raster order among equals."""
    map_HW = F.interpolate(map_hw[None, None], size, mode="bilinear")[0, 0].numpy()
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(map_HW > threshold * map_HW.max()), strict=True)}
    found = []
    for start in sorted(left):
        if start not in left:
            continue
        component, waiting = [], [start]
        left.remove(start)
        while waiting:
            y, x = waiting.pop()
            component.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            waiting += near
        ys, xs = zip(*component, strict=True)
        found.append((-len(component), [min(xs), min(ys), max(xs) + 1, max(ys) + 1]))
    return [box for _, box in sorted(found, key=lambda each: each[0])]


@pytest.fixture
def maps() -> Tensor:
    """(3 images, 4 classes, 5×7 cells)."""
    return torch.randn(3, 4, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("most", [2, 8])
def test_every_component_of_every_map_the_largest_of_all_classes_first(maps: Tensor, most: int) -> None:
    proposals = AllComponents(0.3, most=most)(maps, SIZES, INPUT)
    assert proposals.rank_P == (0, 1, 2, 3) * most
    assert proposals.boxes_BP4.shape == (3, 4 * most, 4)
    assert proposals.boxes_BP4.dtype == torch.float32
    assert not proposals.degenerate_BP.any()
    numbers = set()
    for b, (height, width) in enumerate(SIZES.tolist()):
        for t in range(4):
            expected = slow_boxes(maps[b, t], (height, width), 0.3)
            numbers.add(len(expected))
            lacking = max(most - len(expected), 0)
            expected = expected[:most] + expected[:1] * lacking
            assert proposals.boxes_BP4[b, t::4].tolist() == expected
    assert len(numbers) > 2
    assert max(numbers) > 2


@pytest.mark.parametrize("frame", ["original", "input"])
def test_the_first_boxes_are_those_of_the_largest_component(maps: Tensor, frame: str) -> None:
    maps[0, 1] = 3.7
    maps[1, 0, 2, 2] = math.nan
    proposals = AllComponents(0.3, frame=frame, most=3)(maps, SIZES, INPUT)
    first = LargestComponent(0.3, frame=frame)(maps, SIZES, INPUT)
    assert torch.equal(proposals.boxes_BP4[:, :4], first.boxes_BP4)
    assert torch.equal(proposals.degenerate_BP, first.degenerate_BP.repeat(1, 3))
    # Without a region the whole image, and that in every place.
    assert proposals.boxes_BP4[0, 1::4].tolist() == [[0, 0, 50, 30]] * 3
    assert (proposals.boxes_BP4[2, 0] != proposals.boxes_BP4[2, 4]).any()


def test_frame_input_scales_every_box(maps: Tensor) -> None:
    proposals = AllComponents(0.3, frame="input", most=4)(maps[:1, :1], SIZES[:1], INPUT)
    expected = slow_boxes(maps[0, 0], INPUT, 0.3)
    assert len(expected) > 1
    for box_4, (x0, y0, x1, y1) in zip(proposals.boxes_BP4[0], expected, strict=False):
        fx, fy = 50 / INPUT[1], 30 / INPUT[0]
        assert box_4.tolist() == pytest.approx([x0 * fx, y0 * fy, x1 * fx, y1 * fy], rel=1e-6)


def test_its_options() -> None:
    assert AllComponents(0.35, "minmax", most=3).protocol() == LargestComponent(0.35, "minmax").protocol() | {
        "rule": "all_components",
        "most": 3,
    }
    with pytest.raises(ValueError, match=r"box\.most is how many boxes a map may have, at least 1; got 0"):
        AllComponents(most=0)
    with pytest.raises(ValueError, match=r"box\.threshold"):
        AllComponents(1.5)
