"""Top-1 and top-5 error against sorting in plain Python, with ties in most rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from cam_lightning.metric.classification_error import ClassificationError


def tied_logits(num_classes: int, num_images: int = 150) -> tuple[torch.Tensor, torch.Tensor]:
    rng = random.Random(num_classes)
    logits = [[float(rng.randrange(4)) for _ in range(num_classes)] for _ in range(num_images)]
    return torch.tensor(logits), torch.tensor([rng.randrange(num_classes) for _ in range(num_images)])


def slow_errors(logits_BC: torch.Tensor, label_B: torch.Tensor) -> dict[str, float]:
    wrong = {1: 0, 5: 0}
    for row, label in zip(logits_BC.tolist(), label_B.tolist(), strict=True):
        before = sum(1 for c, v in enumerate(row) if v > row[label] or (v == row[label] and c < label))
        for k in wrong:
            wrong[k] += before >= k
    return {
        "num_images": len(label_B),
        "classification_error/top1": wrong[1] / len(label_B),
        "classification_error/top5": wrong[5] / len(label_B),
    }


@pytest.mark.parametrize("num_classes", [1, 2, 5, 6, 30])
def test_equals_a_plain_loop(num_classes: int) -> None:
    logits, labels = tied_logits(num_classes)
    metric = ClassificationError()
    metric.update(logits, labels)
    assert metric.compute() == slow_errors(logits, labels)


def test_up_to_five_classes_none_is_beyond_the_fifth() -> None:
    logits, labels = tied_logits(4)
    metric = ClassificationError()
    metric.update(logits, labels)
    assert metric.compute()["classification_error/top5"] == 0
    assert metric.compute()["classification_error/top1"] > 0


def test_by_hand() -> None:
    """Class 1 and 2 tie for the first place, which goes to 1."""
    logits = torch.tensor([[0.0, 3, 3, 1, 1, 1, 1]] * 4)
    metric = ClassificationError()
    metric.update(logits, torch.tensor([1, 2, 5, 6]))
    assert metric.compute() == {
        "num_images": 4,
        "classification_error/top1": 3 / 4,
        "classification_error/top5": 1 / 4,
    }


def test_any_split_over_batches_and_ranks_is_bit_identical(check_every_split: Any) -> None:
    """The number of images too: outside `compute` it would be one rank's own."""
    logits, labels = tied_logits(12)

    def update(metric: ClassificationError, rows: Sequence[int]) -> None:
        metric.update(logits[list(rows)], labels[list(rows)])

    check_every_split(ClassificationError, update, len(labels))


def test_it_keeps_no_graph() -> None:
    logits = torch.randn(3, 6, requires_grad=True)
    metric = ClassificationError()
    metric.update(logits, torch.tensor([0, 1, 2]))
    assert not metric.hits_top1.requires_grad


def test_nothing_counted_is_no_result() -> None:
    with pytest.warns(UserWarning, match="before"), pytest.raises(ValueError, match="no image was counted"):
        ClassificationError().compute()
