"""Mean average precision of entries that share images, against a plain loop and scikit-learn's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from cam_lightning.metric.average_precision import AveragePrecision

NUM_CLASSES = 4


class World:
    """120 entries of about 60 images, with scores that tie now and then."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        target, image, label = [], [], []
        for number in itertools.count():
            shown = random.choice([0.0, 1.0, np.nan], NUM_CLASSES, p=[0.5, 0.35, 0.15])
            own = np.flatnonzero(shown == 1).tolist() or [0]
            for each in own:
                target.append(shown)
                image.append(number)
                label.append(each)
            if len(image) >= 120:
                break
        self.target_NC = np.array(target[:120], np.float32)
        self.image_N = np.array(image[:120])
        of_image = (random.normal(size=(number + 1, NUM_CLASSES)) * 2).round(1).astype(np.float32)
        self.logits_NC = of_image[self.image_N]

    def metric(self) -> AveragePrecision:
        return AveragePrecision(self.target_NC, self.image_N)

    def update(self, metric: AveragePrecision, rows: Sequence[int]) -> None:
        metric.update(torch.from_numpy(self.logits_NC[list(rows)]), torch.tensor(list(rows), dtype=torch.int64))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def slow_mean(world: World, images: Sequence[int]) -> float:
    """Precision at every threshold that is some image's score, times the recall that it adds."""
    each = []
    for column in range(NUM_CLASSES):
        pairs = []
        for number in images:
            row = int(np.flatnonzero(world.image_N == number)[0])
            if not np.isnan(world.target_NC[row, column]):
                pairs.append((float(world.logits_NC[row, column]), world.target_NC[row, column] == 1))
        total, area, recall = sum(holds for _, holds in pairs), 0.0, 0.0
        for threshold in sorted({score for score, _ in pairs}, reverse=True):
            above = [holds for score, holds in pairs if score >= threshold]
            area += (sum(above) / total - recall) * sum(above) / len(above)
            recall = sum(above) / total
        each.append(area)
    return sum(each) / len(each)


def test_equals_a_plain_loop_and_scikit_learn_with_every_image_once(world: World) -> None:
    metric = world.metric()
    world.update(metric, range(120))
    numbers = metric.compute()
    images = np.unique(world.image_N)
    assert numbers["average_precision/num_images"] == len(images) < 80
    assert numbers["average_precision/mean"] == pytest.approx(slow_mean(world, images.tolist()), abs=1e-12)
    assert numbers.keys() == metric.specs().keys()
    score = pytest.importorskip("sklearn.metrics").average_precision_score
    first = [int(np.flatnonzero(world.image_N == number)[0]) for number in images]
    each = []
    for column in range(NUM_CLASSES):
        known = [row for row in first if not np.isnan(world.target_NC[row, column])]
        assert len(known) < len(first)
        each.append(score(world.target_NC[known, column], world.logits_NC[known, column]))
    assert numbers["average_precision/mean"] == pytest.approx(np.mean(each), abs=1e-12)
    # With the entries for images it would be another number.
    by_entry = AveragePrecision(world.target_NC)
    world.update(by_entry, range(120))
    assert abs(by_entry.compute()["average_precision/mean"] - np.mean(each)) > 1e-3


def test_any_split_over_batches_and_ranks_is_bit_identical(world: World, check_every_split: Any) -> None:
    check_every_split(world.metric, world.update, 120)


def test_of_some_entries_their_images_count_once(world: World) -> None:
    rows = list(range(1, 120, 3))
    metric = world.metric()
    world.update(metric, rows)
    images = np.unique(world.image_N[rows])
    assert metric.compute()["average_precision/num_images"] == len(images)
    assert metric.compute()["average_precision/mean"] == pytest.approx(slow_mean(world, images.tolist()), abs=1e-12)


def test_a_class_that_no_image_shows_has_none() -> None:
    target_NC = np.array([[1, 0, np.nan], [0, 0, np.nan], [1, 0, 0]], np.float32)
    metric = AveragePrecision(target_NC)
    metric.update(torch.tensor([[3.0, 1, 1], [2, 1, 1], [1, 1, 1]]), torch.arange(3))
    assert metric.compute()["average_precision/mean"] == pytest.approx((1 + 2 / 3) / 2)
    nothing = AveragePrecision(np.zeros((2, 3), np.float32))
    nothing.update(torch.zeros(2, 3), torch.arange(2))
    assert nothing.compute() == {}
