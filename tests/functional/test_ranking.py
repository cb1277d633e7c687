"""The order of classes, ties included, against Python's sort."""

from __future__ import annotations

import math
import random

import pytest
import torch

from cam_lightning.functional.ranking import rank_of_label, ranked_classes

INF, NAN = math.inf, math.nan


def sorted_classes(logits: list[float], count: int = 5) -> list[int]:
    """Larger first, the lower index first among equals, what is not a number behind everything."""
    return sorted(range(len(logits)), key=lambda c: (math.isnan(logits[c]), -logits[c], c))[:count]


@pytest.mark.parametrize("num_classes", [1, 2, 4, 5, 6, 40])
def test_equals_sorting_with_many_ties(num_classes: int) -> None:
    rng = random.Random(num_classes)
    logits = [[float(rng.randrange(-3, 4)) for _ in range(num_classes)] for _ in range(60)]
    classes_BT = ranked_classes(torch.tensor(logits))
    assert classes_BT.dtype == torch.int64
    assert classes_BT.shape == (60, min(5, num_classes))
    assert classes_BT.tolist() == [sorted_classes(row) for row in logits]


@pytest.mark.parametrize(
    ("logits", "order"),
    [
        ([0, 0, 0], [0, 1, 2]),
        ([0, INF, 3e38, INF], [1, 3, 2, 0]),
        ([NAN, -INF, -3e38, 0], [3, 2, 1, 0]),
        ([NAN, NAN, 1], [2, 0, 1]),
        ([-0.0, 0.0], [0, 1]),
    ],
)
def test_special_values(logits: list[float], order: list[int]) -> None:
    assert ranked_classes(torch.tensor([logits])).tolist() == [order]


def test_half_precision_is_ranked_as_it_is() -> None:
    logits = torch.tensor([[1.0, 2.0, 2.0, 3.0]], dtype=torch.bfloat16)
    assert ranked_classes(logits, count=3).tolist() == [[3, 1, 2]]


def test_rank_of_label_by_hand() -> None:
    classes = torch.tensor([[7, 2, 5], [7, 2, 5], [7, 2, 5], [0, 1, 2]])
    assert rank_of_label(classes, torch.tensor([7, 5, 1, 0])).tolist() == [0, 2, 3, 0]


def test_rank_of_label_against_a_plain_loop() -> None:
    rng = random.Random(0)
    logits = torch.tensor([[float(rng.randrange(4)) for _ in range(9)] for _ in range(80)])
    labels = [rng.randrange(9) for _ in range(80)]
    ranks = rank_of_label(ranked_classes(logits), torch.tensor(labels)).tolist()
    for row, label, rank in zip(logits.tolist(), labels, ranks, strict=True):
        order = sorted_classes(row)
        assert rank == (order.index(label) if label in order else 5)
    assert set(ranks) == set(range(6))
