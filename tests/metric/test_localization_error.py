"""Top-1 and top-5 localization error against a loop over images, guesses and boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from cam_lightning.metric.localization_error import LocalizationError


def slow_errors(evaluation: Any, overlap: Callable[..., float], threshold: float) -> dict[str, float]:
    """ILSVRC's rule as its devkit words it: a guess is right in class and in one of the boxes."""
    localization, truth = evaluation
    wrong, counted = {1: 0, 5: 0}, 0
    for b, label in enumerate(truth.label_B.tolist()):
        boxes = truth.boxes_BN4[b, : truth.num_boxes_B[b]].tolist()
        if not boxes:
            continue
        counted += 1
        for k in wrong:
            hit = False
            for guess in range(k):
                right_class = int(localization.classes_BT[b, guess]) == label
                guessed = localization.proposals.boxes_BP4[b, guess].tolist()
                if right_class and any(overlap(guessed, box) >= threshold for box in boxes):
                    hit = True
            wrong[k] += not hit
    return {"localization_error/top1": wrong[1] / counted, "localization_error/top5": wrong[5] / counted}


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_equals_a_plain_loop(evaluation: Any, overlap: Any, threshold: float) -> None:
    metric = LocalizationError(threshold)
    metric.update(*evaluation)
    result = metric.compute()
    assert result == slow_errors(evaluation, overlap, threshold)
    assert 0 < result["localization_error/top5"] < result["localization_error/top1"] < 1
    assert metric.count("num_images") == int((evaluation.truth.num_boxes_B > 0).sum()) < 120


def test_the_data_decide_whether_exactly_one_half_is_a_hit(evaluation: Any, overlap: Any) -> None:
    """So that the test above could not pass with `>`."""
    at_half, above = LocalizationError(0.5), LocalizationError(0.5 + 1e-9)
    for metric in (at_half, above):
        metric.update(*evaluation)
    assert at_half.count("hits_top1") > above.count("hits_top1")


def test_any_split_over_batches_and_ranks_is_bit_identical(evaluation: Any, check_every_split: Any) -> None:
    def update(metric: LocalizationError, rows: Sequence[int]) -> None:
        metric.update(*evaluation.rows(rows))

    check_every_split(LocalizationError, update, 120)


def test_without_any_known_box_there_is_no_error_to_report(evaluation: Any) -> None:
    """0 of 0 images is neither right nor wrong; padding rows are no boxes, even under the guess."""
    localization, truth = evaluation.rows(range(10))
    boxes_BN4 = localization.proposals.boxes_BP4[:, :1].clone()
    no_boxes = truth._replace(boxes_BN4=boxes_BN4, num_boxes_B=torch.zeros(10, dtype=torch.int64))
    metric = LocalizationError()
    metric.update(localization, no_boxes)
    assert metric.compute() == {}
