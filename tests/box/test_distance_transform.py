"""The released box generator as a part: shapes, options, and maps that name nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cam_lightning.box.distance_transform import DistanceTransform
from cam_lightning.functional.distance_transform import loose_and_tight_boxes

SIZES = torch.tensor([[48, 70], [64, 40]])
INPUT = (32, 32)


@pytest.fixture
def maps() -> Tensor:
    """(2 images, 3 classes, 5×7 cells), smooth enough for boxes."""
    return torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) ** 2


@pytest.mark.parametrize(("which", "place"), [("loose", 0), ("tight", 1)])
def test_each_map_gives_one_box_in_its_own_image(maps: Tensor, which: str, place: int) -> None:
    proposals = DistanceTransform(which=which)(maps, SIZES, INPUT)
    assert proposals.rank_P == (0, 1, 2)
    assert proposals.boxes_BP4.dtype == torch.float32
    for b in range(2):
        for t in range(3):
            boxes, degenerate = loose_and_tight_boxes(maps[b, t : t + 1].numpy(), SIZES[b : b + 1].numpy())
            assert proposals.boxes_BP4[b, t].tolist() == boxes[0, place].tolist()
            assert bool(proposals.degenerate_BP[b, t]) == bool(degenerate[0])


def test_loose_and_tight_differ(maps: Tensor) -> None:
    loose, tight = (DistanceTransform(which=which)(maps, SIZES, INPUT).boxes_BP4 for which in ("loose", "tight"))
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (loose, tight)]
    assert (areas[0] >= areas[1]).all()
    assert (areas[0] > areas[1]).any()


def test_maps_that_name_no_region_are_the_whole_image_and_marked(maps: Tensor) -> None:
    maps[0, 0] = 1.5
    maps[0, 2, 1, 1] = math.nan
    maps[1, 1] = 0
    maps[1, 2, 0, 0] = -math.inf
    proposals = DistanceTransform()(maps, SIZES, INPUT)
    assert proposals.degenerate_BP.tolist() == [[True, False, True], [False, True, True]]
    assert proposals.boxes_BP4[0, 0].tolist() == proposals.boxes_BP4[0, 2].tolist() == [0, 0, 70, 48]
    assert proposals.boxes_BP4[1, 1].tolist() == proposals.boxes_BP4[1, 2].tolist() == [0, 0, 40, 64]


def test_negative_evidence_counts_as_released_or_not() -> None:
    """Left a negative blob, right a smaller positive one."""
    map_hw = torch.zeros(8, 16)
    map_hw[2:6, 1:5], map_hw[3:5, 10:12] = -3.0, 1.0
    size = torch.tensor([[80, 160]])
    boxes = {
        rectify: DistanceTransform(rectify=rectify)(map_hw[None, None], size, INPUT).boxes_BP4[0, 0].tolist()
        for rectify in ("absolute", "zero")
    }
    assert boxes["absolute"][2] <= 80 <= boxes["zero"][0]


def test_a_box_does_not_depend_on_its_batch_and_maps_stay_as_they_are(maps: Tensor) -> None:
    before = maps.clone().requires_grad_()
    together = DistanceTransform()(before, SIZES, INPUT).boxes_BP4
    assert torch.equal(before.detach(), maps)
    assert torch.equal(together[1:, 2:], DistanceTransform()(maps[1:, 2:], SIZES[1:], INPUT).boxes_BP4)


def test_the_protocol_says_the_whole_rule() -> None:
    assert DistanceTransform([30, 90, 150], "zero", "tight").protocol() == {
        "rule": "distance_transform",
        "which": "tight",
        "levels": "30 90 150",
        "normalise": "max, 8 bit",
        "rectify": "zero",
        "frame": "original",
        "upsample": "bicubic (imresize)",
    }


def test_options_are_checked_before_any_image() -> None:
    for levels in ([], [20, 255], [-1], [0.2]):
        with pytest.raises(ValueError, match=r"box\.levels"):
            DistanceTransform(levels)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"box\.rectify is one of absolute, zero; got 'max'"):
        DistanceTransform(rectify="max")
    with pytest.raises(ValueError, match=r"box\.which is one of loose, tight; got 'second'"):
        DistanceTransform(which="second")
