"""Mask IoU at a fixed threshold, against a count of pixels one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from toy_localization import with_label_map

from cam_lightning.metric.mask_overlap import MaskOverlap


@pytest.fixture
def masked(evaluation: Any) -> Any:
    """The random evaluation with maps and masks of 8 × 12 pixels, some of them ignored."""
    rng = np.random.default_rng(0)
    map_Bhw = torch.from_numpy(rng.integers(-9, 10, (120, 8, 12))).float()
    map_Bhw[:, 0, 0] = 10
    map_Bhw[3] = 0.1
    map_Bhw[5, 0, 0] = torch.nan
    mask_BHW = torch.from_numpy(rng.choice(np.array([0, 1, 255], np.uint8), (120, 8, 12)))
    return evaluation._replace(
        localization=with_label_map(evaluation.localization, map_Bhw),
        truth=evaluation.truth._replace(mask_BHW=mask_BHW),
    )


def test_equals_a_count_of_pixels(masked: Any) -> None:
    """Above 0.2 of the maximum 10 is above 2; a value of 2 is not. Images 3 and 5 name no region."""
    both = either = 0
    for b, mask_HW in enumerate(masked.truth.mask_BHW.tolist()):
        map_HW = masked.localization.label_map_Bhw[b].tolist()
        for mask_W, map_W in zip(mask_HW, map_HW, strict=True):
            for mask, value in zip(mask_W, map_W, strict=True):
                is_above = b not in (3, 5) and value > 2
                both += mask == 1 and is_above
                either += mask == 1 or (mask == 0 and is_above)
    metric = MaskOverlap()
    metric.update(*masked)
    assert metric.compute() == {"mask_iou": both / either}
    assert metric.compute().keys() == metric.specs().keys()
    assert 0 < both < either
    other = MaskOverlap(0.5, "minmax")
    other.update(*masked)
    assert other.compute() != metric.compute()


def test_maps_are_upsampled_to_the_masks(evaluation: Any) -> None:
    """Of 2 × 2 cells the right ones; the mask of 4 × 6 pixels is its right half."""
    one = evaluation.rows([0])
    map_hw = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    mask_HW = torch.zeros(4, 6, dtype=torch.uint8)
    mask_HW[:, 3:] = 1
    metric = MaskOverlap(0.5)
    metric.update(with_label_map(one.localization, map_hw[None]), one.truth._replace(mask_BHW=mask_HW[None]))
    assert metric.compute() == {"mask_iou": 1.0}


def test_any_split_over_batches_and_ranks_is_bit_identical(masked: Any, check_every_split: Any) -> None:
    def update(metric: MaskOverlap, rows: Sequence[int]) -> None:
        metric.update(*masked.rows(rows))

    check_every_split(MaskOverlap, update, 120)


def test_without_masks_nothing_is_reported(evaluation: Any) -> None:
    metric = MaskOverlap()
    metric.update(*evaluation)
    assert metric.compute() == {}


def test_its_options() -> None:
    with pytest.raises(ValueError, match=r"metric\.mask_overlap\.threshold"):
        MaskOverlap(1.5)
    with pytest.raises(ValueError, match=r"metric\.mask_overlap\.normalise"):
        MaskOverlap(normalise="none")
