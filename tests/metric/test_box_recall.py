"""Recall over several objects, against a loop over all pairs of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_localization import with_label_map

from cam_lightning.box.all_components import AllComponents
from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.contracts import Proposals
from cam_lightning.metric.box_recall import BoxRecall


class Drawn:
    """Boxes that were drawn beforehand, three for each image, whose number is its map's value."""

    def __init__(self, boxes_BP4: Tensor) -> None:
        self.boxes_BP4 = boxes_BP4

    def __call__(self, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
        assert map_BThw.shape[1] == 1
        assert input_size == (40, 60)
        boxes_BP4 = self.boxes_BP4[map_BThw[:, 0, 0, 0].long()]
        return Proposals(boxes_BP4, (0,) * 3, torch.zeros(boxes_BP4.shape[:2], dtype=torch.bool))


@pytest.fixture
def drawn(evaluation: Any) -> tuple[Any, Drawn]:
    """The random evaluation, whose guesses of the first three classes are all of the label here."""
    number_B = torch.arange(120.0)[:, None, None].expand(-1, 2, 3)
    box = Drawn(evaluation.localization.proposals.boxes_BP4[:, :3])
    return evaluation._replace(localization=with_label_map(evaluation.localization, number_B)), box


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_equals_a_plain_loop(drawn: Any, overlap: Any, threshold: float) -> None:
    evaluation, box = drawn
    truth, shares, found_of_all = evaluation.truth, [], []
    for b, number in enumerate(truth.num_boxes_B.tolist()):
        found = [
            any(overlap(true, guess) >= threshold for guess in box.boxes_BP4[b].tolist())
            for true in truth.boxes_BN4[b, :number].tolist()
        ]
        if found:
            shares.append(Fraction(sum(found), len(found)))
        found_of_all += found
    metric = BoxRecall(box, threshold, (40, 60))
    metric.update(evaluation.localization, truth)
    values = metric.compute()
    assert values["box_recall"] == pytest.approx(float(sum(shares) / len(shares)), abs=1e-9)
    assert values["box_recall/of_all_boxes"] == sum(found_of_all) / len(found_of_all)
    assert {Fraction(0), Fraction(1, 2), Fraction(1, 3), Fraction(1)} <= set(shares)
    assert values.keys() == metric.specs().keys()
    assert values["box_recall"] != values["box_recall/of_all_boxes"]


def test_any_split_over_batches_and_ranks_is_bit_identical(drawn: Any, check_every_split: Any) -> None:
    evaluation, box = drawn

    def update(metric: BoxRecall, rows: Sequence[int]) -> None:
        metric.update(*evaluation.rows(rows))

    check_every_split(lambda: BoxRecall(box, input_size=(40, 60)), update, 120)


def test_two_objects_are_two_components(evaluation: Any) -> None:
    """By hand: 4×6 pixels, true boxes on the left two and the right two columns, the map high on both."""
    localization, truth = evaluation.rows([0])
    map_hw = torch.tensor([[1.0, 1, 0, 0, 0.9, 0.8]] * 4)
    truth = truth._replace(
        boxes_BN4=torch.tensor([[[0.0, 0, 2, 4], [4, 0, 6, 4]]]),
        num_boxes_B=torch.tensor([2]),
        size_B2=torch.tensor([[4, 6]]),
    )
    for box, expected in ((AllComponents(), 1.0), (AllComponents(most=1), 0.5), (LargestComponent(), 0.5)):
        metric = BoxRecall(box)
        metric.update(with_label_map(localization, map_hw[None]), truth)
        assert metric.compute() == {"box_recall": expected, "box_recall/of_all_boxes": expected}


def test_without_any_known_box_nothing_is_reported(drawn: Any) -> None:
    evaluation, box = drawn
    metric = BoxRecall(box, 0.0, (40, 60))
    truth = evaluation.truth
    metric.update(evaluation.localization, truth._replace(num_boxes_B=truth.num_boxes_B * 0))
    assert metric.compute() == {}
