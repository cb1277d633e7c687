"""GT-known error against a loop; whatever was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cam_lightning.metric.gt_known_error import GtKnownError


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_equals_a_plain_loop(evaluation: Any, overlap: Any, threshold: float) -> None:
    localization, truth = evaluation
    wrong = counted = 0
    for b, number in enumerate(truth.num_boxes_B.tolist()):
        if number == 0:
            continue
        counted += 1
        guessed = localization.label_box_B4[b].tolist()
        best = max(overlap(guessed, box) for box in truth.boxes_BN4[b, :number].tolist())
        wrong += best < threshold
    metric = GtKnownError(threshold)
    metric.update(localization, truth)
    assert metric.compute() == {"gt_known_error": wrong / counted}
    assert 0 < wrong < counted < 120


def test_predictions_do_not_matter(evaluation: Any) -> None:
    localization, truth = evaluation
    one, other = GtKnownError(), GtKnownError()
    one.update(localization, truth)
    proposals = localization.proposals._replace(boxes_BP4=localization.proposals.boxes_BP4 * 0)
    other.update(localization._replace(classes_BT=localization.classes_BT.flip(1), proposals=proposals), truth)
    assert one.compute() == other.compute()


def test_any_split_over_batches_and_ranks_is_bit_identical(evaluation: Any, check_every_split: Any) -> None:
    def update(metric: GtKnownError, rows: Sequence[int]) -> None:
        metric.update(*evaluation.rows(rows))

    check_every_split(GtKnownError, update, 120)


def test_without_any_known_box_there_is_no_error_to_report(evaluation: Any) -> None:
    localization, truth = evaluation.rows(range(10))
    metric = GtKnownError(iou_threshold=0.0)
    metric.update(localization, truth._replace(num_boxes_B=truth.num_boxes_B * 0))
    assert metric.compute() == {}
