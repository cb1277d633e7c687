"""Intersection over union, against counted pixels; thresholds met exactly where the fraction meets them."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
import torch

from cam_lightning.functional.overlap import best_overlap, intersection_over_union, written_overlap

Box = list[int]


def counted(a: Box, b: Box, side: int = 14) -> Fraction:
    """Pixel by pixel."""
    both = either = 0
    for x in range(side):
        for y in range(side):
            in_a = a[0] <= x < a[2] and a[1] <= y < a[3]
            in_b = b[0] <= x < b[2] and b[1] <= y < b[3]
            both += in_a and in_b
            either += in_a or in_b
    return Fraction(both, either) if either else Fraction(0)


def random_box(rng: random.Random) -> Box:
    """May be empty, also turned inside out."""
    return [rng.randrange(14), rng.randrange(14), rng.randrange(14), rng.randrange(14)]


def iou(a: list[float] | Box, b: list[float] | Box) -> float:
    return float(intersection_over_union(torch.tensor(a).float(), torch.tensor(b).float()))


def test_by_hand() -> None:
    """5×3 and 5×4 pixels share 4×2: 8 of 15 + 20 - 8 = 27."""
    assert iou([0, 0, 5, 3], [1, 1, 6, 5]) == 8 / 27


def test_equals_counted_pixels_to_the_last_bit() -> None:
    rng = random.Random(0)
    for _ in range(300):
        a, b = random_box(rng), random_box(rng)
        assert iou(a, b) == float(counted(a, b)) == iou(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0, 0, 4, 4], [4, 0, 8, 4]),
        ([0, 0, 4, 4], [4, 4, 8, 8]),
        ([2, 2, 2, 9], [0, 0, 9, 9]),
        ([3, 3, 3, 3], [3, 3, 3, 3]),
        ([5, 5, 2, 2], [5, 5, 2, 2]),
        ([float("nan"), 0, 4, 4], [0, 0, 4, 4]),
    ],
    ids=["side by side", "at a corner", "no width", "both empty", "inside out", "not a number"],
)
def test_nothing_in_common(a: list[float], b: list[float]) -> None:
    assert iou(a, b) == 0


@pytest.mark.parametrize("percent", range(5, 100, 5))
@pytest.mark.parametrize("scale", [1, 3, 7, 640])
def test_a_threshold_written_in_decimal_is_met_exactly(percent: int, scale: int) -> None:
    """In float32 three tenths would be more than 0.3 or less, as the sizes have it."""
    threshold = float(f"0.{percent:02}")
    whole = [0, 0, 20 * scale, 5]
    assert iou([0, 0, percent * scale // 5, 5], whole) >= threshold
    assert iou([0, 0, percent * scale // 5, 4], whole) < threshold


def test_best_overlap_against_a_plain_loop() -> None:
    """Rows from `num_truth` on hold boxes too, here, to catch whoever counts them."""
    rng = random.Random(1)
    B, P, N = 40, 3, 4
    proposed = [[random_box(rng) for _ in range(P)] for _ in range(B)]
    truth = [[random_box(rng) for _ in range(N)] for _ in range(B)]
    num_truth = [rng.randrange(N + 1) for _ in range(B)]
    assert {0, N} <= set(num_truth)
    best_BP = best_overlap(torch.tensor(proposed).float(), torch.tensor(truth).float(), torch.tensor(num_truth))
    for b in range(B):
        for p in range(P):
            expected = max([counted(proposed[b][p], t) for t in truth[b][: num_truth[b]]], default=Fraction(0))
            assert best_BP[b, p] == float(expected)


def test_a_batch_in_which_no_image_has_a_box() -> None:
    best_BP = best_overlap(torch.ones(2, 5, 4), torch.zeros(2, 0, 4), torch.tensor([0, 0]))
    assert best_BP.tolist() == [[0] * 5] * 2


@pytest.mark.parametrize(
    ("overlap", "digits", "expected"),
    [(0.5, 2, "0.50"), (0.497, 2, "0.49"), (math.nextafter(0.5, 0), 3, "0.499"), (0.29, 2, "0.29"), (1, 2, "1.00"),
     (0.0, 3, "0.000"), (1e-7, 2, "0.00")],
)  # fmt: skip
def test_an_overlap_reads_as_what_it_counts(overlap: float, digits: int, expected: str) -> None:
    assert written_overlap(overlap, digits) == expected


def test_no_written_overlap_contradicts_a_threshold_of_as_many_digits() -> None:
    for total in range(1, 60):
        for both in range(total + 1):
            for percent in range(0, 101, 5):
                is_hit = both / total >= percent / 100
                assert (Fraction(written_overlap(both / total)) >= Fraction(percent, 100)) == is_hit
