"""Every component a box, against a flood fill of torch's interpolation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_localization import localization_of

from cam_lightning.box.all_components import AllComponents
from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.contracts import GroundTruth, Proposals
from cam_lightning.metric.localization_error import LocalizationError

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


def of_class(proposals: Proposals, t: int) -> Tensor:
    """The boxes (B, M, 4) of the map of one of four classes; the fifth guess is the first one's box again."""
    assert torch.equal(proposals.boxes_BP4[:, 4], proposals.boxes_BP4[:, 0])
    assert proposals.rank_P[4] == 0
    return proposals.boxes_BP4[:, [p for p, rank in enumerate(proposals.rank_P) if rank == t and p != 4]]


@pytest.fixture
def maps() -> Tensor:
    """(3 images, 4 classes, 5×7 cells)."""
    return torch.randn(3, 4, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("most", [2, 8])
def test_every_component_of_every_map_the_largest_of_all_classes_first(maps: Tensor, most: int) -> None:
    proposals = AllComponents(0.3, most=most)(maps, SIZES, INPUT)
    assert proposals.rank_P == (0, 1, 2, 3, 0) + (0, 1, 2, 3) * (most - 1)
    assert proposals.boxes_BP4.shape == (3, 4 * most + 1, 4)
    assert proposals.boxes_BP4.dtype == torch.float32
    assert not proposals.degenerate_BP.any()
    numbers = set()
    for b, (height, width) in enumerate(SIZES.tolist()):
        for t in range(4):
            expected = slow_boxes(maps[b, t], (height, width), 0.3)
            numbers.add(len(expected))
            lacking = max(most - len(expected), 0)
            expected = expected[:most] + expected[:1] * lacking
            assert of_class(proposals, t)[b].tolist() == expected
    assert len(numbers) > 2
    assert max(numbers) > 2


@pytest.mark.parametrize("frame", ["original", "input"])
def test_the_first_boxes_are_those_of_the_largest_component(maps: Tensor, frame: str) -> None:
    maps[0, 1] = 3.7
    maps[1, 0, 2, 2] = math.nan
    proposals = AllComponents(0.3, frame=frame, most=3)(maps, SIZES, INPUT)
    first = LargestComponent(0.3, frame=frame)(maps, SIZES, INPUT)
    assert torch.equal(proposals.boxes_BP4[:, :4], first.boxes_BP4)
    assert torch.equal(proposals.degenerate_BP[:, :4], first.degenerate_BP)
    assert proposals.degenerate_BP.sum(1).tolist() == [3, 4, 0], "the first map of the second image is a guess more"
    # Without a region the whole image, and that in every place.
    assert of_class(proposals, 1)[0].tolist() == [[0, 0, 50, 30]] * 3
    assert (of_class(proposals, 0)[2, 0] != of_class(proposals, 0)[2, 1]).any()


def test_frame_input_scales_every_box(maps: Tensor) -> None:
    proposals = AllComponents(0.3, frame="input", most=4)(maps[:1], SIZES[:1], INPUT)
    expected = slow_boxes(maps[0, 0], INPUT, 0.3)
    assert len(expected) > 1
    for box_4, (x0, y0, x1, y1) in zip(of_class(proposals, 0)[0], expected, strict=False):
        fx, fy = 50 / INPUT[1], 30 / INPUT[0]
        assert box_4.tolist() == pytest.approx([x0 * fx, y0 * fy, x1 * fx, y1 * fy], rel=1e-6)


@pytest.mark.parametrize("num_classes", [1, 3, 7])
def test_errors_are_those_of_the_largest_component(num_classes: int) -> None:
    """Also where there are fewer classes than guesses: a second component is none."""
    T, generator = min(5, num_classes), torch.Generator().manual_seed(1)
    maps = torch.randn(40, T, 5, 7, generator=generator)
    size_B2, label_B = torch.tensor([[30, 50]]).expand(40, 2), torch.arange(40) % num_classes
    true_B14 = torch.tensor([[[20.0, 3, 50, 24]]]).expand(40, 1, 4)
    truth = GroundTruth(label_B, true_B14, torch.ones(40, dtype=torch.long), size_B2)
    classes_BT = torch.stack([torch.randperm(num_classes, generator=generator)[:T] for _ in range(40)])
    values = []
    for box in (AllComponents(0.3), LargestComponent(0.3)):
        metric = LocalizationError(0.3)
        known = box(maps[:, :1], size_B2, INPUT)
        found = (box(maps, size_B2, INPUT), maps[:, 0], known.boxes_BP4[:, 0], known.degenerate_BP[:, 0])
        metric.update(localization_of(classes_BT, torch.ones(40, T) / T, maps, *found), truth)
        values.append(metric.compute())
    assert values[0] == values[1]
    assert 0 < values[0]["localization_error/top5"] < 1


def test_its_options() -> None:
    assert AllComponents(0.35, normalise="minmax", most=3).protocol() == LargestComponent(0.35, "minmax").protocol() | {
        "rule": "all_components",
        "most": 3,
    }
    with pytest.raises(ValueError, match=r"box\.most is how many boxes a map may have, at least 1; got 0"):
        AllComponents(most=0)
    with pytest.raises(ValueError, match=r"box\.threshold"):
        AllComponents(1.5)
