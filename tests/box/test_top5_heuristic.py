"""Table 3's five guesses: which box of which class, in which order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cam_lightning.box.distance_transform import DistanceTransform
from cam_lightning.box.top5_heuristic import Top5Heuristic

SIZES = torch.tensor([[48, 70], [64, 40]])
INPUT = (32, 32)


@pytest.fixture
def maps() -> Tensor:
    return torch.rand(2, 5, 5, 7, generator=torch.Generator().manual_seed(0)) ** 2


def test_two_boxes_of_the_first_two_classes_and_one_of_the_third(maps: Tensor) -> None:
    proposals = Top5Heuristic()(maps, SIZES, INPUT)
    loose, tight = (DistanceTransform(which=which)(maps, SIZES, INPUT).boxes_BP4 for which in ("loose", "tight"))
    assert proposals.rank_P == (0, 0, 1, 1, 2)
    expected = torch.stack([loose[:, 0], tight[:, 0], loose[:, 1], tight[:, 1], loose[:, 2]], dim=1)
    assert torch.equal(proposals.boxes_BP4, expected)
    assert not torch.equal(expected[:, 0], expected[:, 1])


@pytest.mark.parametrize(
    ("num_maps", "ranks"), [(1, (0,)), (2, (0, 0, 1, 1)), (3, (0, 0, 1, 1, 2)), (4, (0, 0, 1, 1, 2))]
)
def test_fewer_classes_give_the_guesses_there_are(maps: Tensor, num_maps: int, ranks: tuple[int, ...]) -> None:
    """A single map, as for GT-known localization, gives its loose box."""
    proposals = Top5Heuristic()(maps[:, :num_maps], SIZES, INPUT)
    assert proposals.rank_P == ranks
    assert torch.equal(proposals.boxes_BP4, Top5Heuristic()(maps, SIZES, INPUT).boxes_BP4[:, : len(ranks)])
    assert proposals.degenerate_BP.shape == (2, len(ranks))


def test_a_map_that_names_no_region_marks_each_of_its_guesses(maps: Tensor) -> None:
    maps[1, 0] = 2.0
    maps[0, 4] = 2.0  # no guess is made from it
    proposals = Top5Heuristic()(maps, SIZES, INPUT)
    assert proposals.degenerate_BP.tolist() == [[False] * 5, [True, True, False, False, False]]
    assert proposals.boxes_BP4[1, :2].tolist() == [[0, 0, 40, 64]] * 2


def test_options_reach_the_rule(maps: Tensor) -> None:
    options = {"levels": [60, 150], "rectify": "zero"}
    proposals = Top5Heuristic(**options)(maps - 0.3, SIZES, INPUT)  # type: ignore[arg-type]
    loose = DistanceTransform(**options)(maps - 0.3, SIZES, INPUT)  # type: ignore[arg-type]
    assert torch.equal(proposals.boxes_BP4[:, ::2], loose.boxes_BP4[:, :3])
    with pytest.raises(ValueError, match=r"box\.levels"):
        Top5Heuristic(levels=[300])


def test_the_protocol_says_the_whole_rule() -> None:
    assert Top5Heuristic().protocol() == {
        "rule": "top5_heuristic",
        "guesses": "loose 1, tight 1, loose 2, tight 2, loose 3",
        "levels": "20 100 110",
        "normalise": "max, 8 bit",
        "rectify": "absolute",
        "frame": "original",
        "upsample": "bicubic (imresize)",
    }
