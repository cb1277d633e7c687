"""Average precision against a plain loop over thresholds, and scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cam_lightning.functional.average_precision import average_precision


def oracle(scores: list[float], holds: list[int]) -> float:
    """Every threshold that tells something, from the highest: what recall it adds, times its precision."""
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [hold for score, hold in zip(scores, holds, strict=True) if score >= threshold]
        recall = sum(taken) / sum(holds)
        total += (recall - recall_before) * sum(taken) / len(taken)
        recall_before = recall
    return total


def test_is_what_it_is_by_hand() -> None:
    # Right at ranks 1 and 3: (1/1 + 2/3) / 2.
    assert average_precision(np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0])) == pytest.approx(5 / 6)


@pytest.mark.parametrize("seed", range(5))
def test_is_the_oracle_s_also_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, holds = random.integers(0, 6, 40).astype(float), random.integers(0, 2, 40)
    found = average_precision(scores, holds.astype(float))
    assert found == pytest.approx(oracle(scores.tolist(), holds.tolist()))
    assert found == pytest.approx(average_precision_score(holds, scores))


def test_what_is_not_known_does_not_count() -> None:
    scores, target = np.array([9.0, 4.0, 3.0, 2.0]), np.array([np.nan, 1.0, 0.0, 1.0])
    assert average_precision(scores, target) == average_precision(scores[1:], target[1:])


def test_without_a_positive_there_is_none() -> None:
    assert math.isnan(average_precision(np.array([1.0, 2.0]), np.array([0.0, np.nan])))
