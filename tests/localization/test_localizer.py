"""The maps of a batch: a label that was predicted has one map, to the bit, whatever makes it and beside what."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from toy_network import ToyGap

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.hires_cam import HiResCam
from cam_lightning.contracts import ActivationMap, Normalization
from cam_lightning.functional.ranking import rank_of_label
from cam_lightning.localization.localizer import Localizer

CAMS: dict[str, ActivationMap] = {"cam": ClassActivationMap(), "grad_cam": GradCam(), "hires_cam": HiResCam()}
SETS = [names for count in (1, 2, 3) for names in itertools.permutations(CAMS, count)]


class Small(ToyGap):
    """Eight classes, so that some labels are among the five best and some are not."""

    normalization = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), 6, 8)


@pytest.mark.parametrize("names", SETS, ids="+".join)
def test_a_predicted_label_s_map_and_box_are_the_same_bits(names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    network = Small().eval()
    image = torch.randn(12, 3, 9, 14)
    label = torch.arange(12) % 8
    localizer = Localizer(network, {name: CAMS[name] for name in names}, {"": LargestComponent()})
    with torch.no_grad():
        maps = localizer.maps(image, network(image), torch.arange(12), label)
    boxed = localizer.boxed(maps, torch.tensor([[31, 17]] * 12), (9, 14))
    rank = rank_of_label(maps.classes_BT, label)
    predicted = (rank < maps.classes_BT.shape[1]).nonzero()[:, 0]
    assert 3 < len(predicted) < 12
    assert rank[predicted].unique().numel() > 2, "not all of one rank"
    for arm, (name, _) in localizer.arms.items():
        found = boxed[arm]
        for row in predicted.tolist():
            assert torch.equal(found.label_map_Bhw[row], found.map_BThw[row, rank[row]]), (name, row)
            assert torch.equal(found.label_box_B4[row], found.proposals.boxes_BP4[row, rank[row]])
            assert found.label_degenerate_B[row] == found.proposals.degenerate_BP[row, rank[row]]
        others = [row for row in range(12) if row not in predicted]
        assert all(not (found.label_map_Bhw[row] == found.map_BThw[row]).all((1, 2)).any() for row in others)


def test_no_arm_takes_the_place_of_another() -> None:
    """As a user's package may have a map and a box generator that are called after their paper."""
    cams, boxes = {"": ClassActivationMap(), "ours": GradCam()}, {"": LargestComponent(), "ours": LargestComponent(0.5)}
    with pytest.raises(ValueError, match=r"the numbers of two would stand below 'ours'.*Rename the yaml of one"):
        Localizer(Small(), cams, boxes)
    assert list(Localizer(Small(), cams, {"": LargestComponent(), "box": LargestComponent(0.5)}).arms) == [
        "", "box", "ours", "ours/box",
    ]  # fmt: skip


@pytest.mark.parametrize("reads", ["label", "best"])
def test_maps_that_nothing_reads_are_not_made(reads: Any) -> None:
    asked: list[int] = []

    class Counted(GradCam):
        def __call__(self, network: Any, image_B3HW: Any, output: Any, classes_BT: torch.Tensor) -> torch.Tensor:
            asked.append(classes_BT.shape[1])
            return super().__call__(network, image_B3HW, output, classes_BT)

    torch.manual_seed(0)
    network = Small().eval()
    image, label = torch.randn(12, 3, 9, 14), torch.arange(12) % 8
    localizer = Localizer(network, {"": Counted()}, {"": LargestComponent()})
    count = {"label": 0, "best": 1}[reads]
    with torch.no_grad():
        every, few = (
            localizer.maps(image, network(image), torch.arange(12), label, each) for each in ("ranked", reads)
        )
    assert asked == [6, count + 1]
    size, input_size = torch.tensor([[31, 17]] * 12), (9, 14)
    whole, found = localizer.boxed(every, size, input_size)[""], localizer.boxed(few, size, input_size)[""]
    assert torch.equal(found.classes_BT, whole.classes_BT), "all ranked classes are known, without their maps"
    assert torch.equal(found.label_map_Bhw, whole.label_map_Bhw)
    assert torch.equal(found.label_box_B4, whole.label_box_B4)
    assert torch.equal(found.map_BThw, whole.map_BThw[:, :count])
    assert torch.equal(found.proposals.boxes_BP4, whole.proposals.boxes_BP4[:, :count])
    assert torch.equal(found.proposals.degenerate_BP, whole.proposals.degenerate_BP[:, :count])
    assert found.proposals.rank_P == whole.proposals.rank_P[:count]
