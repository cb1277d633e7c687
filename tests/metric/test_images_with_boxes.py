"""How many images had boxes, over any split of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

from cam_lightning.metric.images_with_boxes import ImagesWithBoxes


def test_an_image_of_several_boxes_is_one_and_one_of_none_is_none() -> None:
    metric = ImagesWithBoxes()
    metric.update(torch.tensor([0, 3, 1]))
    metric.update(torch.tensor([0, 0]))
    assert metric.compute() == {"num_with_boxes": 2}
    assert metric.specs().keys() == metric.compute().keys()


def test_none_is_a_result() -> None:
    metric = ImagesWithBoxes()
    metric.update(torch.tensor([0, 0]))
    assert metric.compute() == {"num_with_boxes": 0}


def test_any_split_over_batches_and_ranks_is_bit_identical(check_every_split: Any) -> None:
    rng = random.Random(0)
    num_boxes = torch.tensor([rng.choice([0, 0, 1, 4]) for _ in range(150)])

    def update(metric: ImagesWithBoxes, rows: Sequence[int]) -> None:
        metric.update(num_boxes[list(rows)])

    check_every_split(ImagesWithBoxes, update, len(num_boxes))
