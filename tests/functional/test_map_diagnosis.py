"""Kinds of error by hand, and what is said of a map against plain loops over its pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cam_lightning.functional.map_diagnosis import BORDER, BORDER_AREA, KINDS, border_share, centre_bias, diagnose

NONE = torch.zeros(0, 4)
TRUE = torch.tensor([[20.0, 20, 60, 40]])


def box(*edges: float) -> Tensor:
    return torch.tensor(edges)


@pytest.mark.parametrize(
    ("predicted", "is_right", "kind"),
    [
        (box(20, 20, 60, 40), True, "none"),
        (box(20, 20, 60, 40), None, "none"),
        (box(30, 25, 40, 35), True, "part"),
        (box(0, 0, 100, 100), True, "whole"),
        (box(70, 60, 90, 90), True, "background"),
        (box(50, 30, 70, 50), True, "background"),  # a quarter of it on the object
        (box(40, 20, 80, 50), True, "shifted"),  # a third of it
        (box(20, 20, 60, 40), False, "other name"),
        (box(30, 25, 40, 35), False, "other name"),
        (box(70, 60, 90, 90), False, "other object"),
    ],
)
def test_with_a_true_box(predicted: Tensor, is_right: bool | None, kind: str) -> None:
    found = diagnose(predicted, True, is_right, TRUE, box(0, 0, 1, 1))
    assert (found.kind, found.judged_by) == (kind, "true box")
    assert found.iou is not None
    assert found.kind in KINDS


def test_of_several_true_boxes_the_best_counts() -> None:
    several = torch.cat([torch.tensor([[0.0, 0, 5, 5]]), TRUE])
    assert diagnose(box(20, 20, 60, 40), True, True, several, None).kind == "none"
    assert diagnose(box(20, 20, 60, 40), True, True, several, None).iou == 1


@pytest.mark.parametrize(
    ("predicted", "is_right", "kind"),
    [
        (box(0, 0, 10, 10), False, "other object"),
        (box(20, 20, 50, 40), False, "other name"),
        (box(0, 0, 10, 10), True, "class right"),
        (box(0, 0, 10, 10), None, "unknown"),
    ],
)
def test_without_a_true_box_the_maps_tell_what_they_can(predicted: Tensor, is_right: bool | None, kind: str) -> None:
    found = diagnose(predicted, True, is_right, NONE, TRUE[0] if is_right is False else None)
    assert (found.kind, found.judged_by, found.iou) == (kind, "maps", None)


def test_a_map_that_names_no_region_is_said_first() -> None:
    assert diagnose(box(0, 0, 100, 100), False, True, TRUE, None).kind == "no region"
    assert diagnose(box(0, 0, 100, 100), False, False, NONE, TRUE[0]).kind == "no region"


def test_evidence_at_the_border_is_that_of_the_frame_s_pixels() -> None:
    """Of a map enlarged cell by cell, so that the frame ends between pixels."""
    map_hw = np.random.default_rng(0).normal(size=(4, 7))
    pixels = np.kron(np.maximum(map_hw, 0), np.ones((50, 40)))
    H, W = pixels.shape
    frame = 0.0
    for y in range(H):
        for x in range(W):
            within = BORDER * H <= y + 0.5 < (1 - BORDER) * H and BORDER * W <= x + 0.5 < (1 - BORDER) * W
            frame += 0 if within else pixels[y, x]
    assert border_share(torch.from_numpy(map_hw)) == pytest.approx(frame / pixels.sum(), abs=1e-9)
    assert border_share(torch.ones(5, 3)) == pytest.approx(BORDER_AREA)
    assert border_share(-torch.ones(5, 3)) == 0


def test_centre_bias_is_a_correlation_with_nearness() -> None:
    map_hw = np.random.default_rng(1).normal(size=(5, 8))
    nearness = np.zeros((5, 8))
    for y in range(5):
        for x in range(8):
            nearness[y, x] = -np.hypot((y + 0.5 - 2.5) / 2.5, (x + 0.5 - 4) / 4)
    expected = np.corrcoef(map_hw.ravel(), nearness.ravel())[0, 1]
    assert centre_bias(torch.from_numpy(map_hw)) == pytest.approx(expected)
    assert centre_bias(torch.from_numpy(nearness)) == pytest.approx(1)
    assert centre_bias(torch.ones(3, 4)) == 0
