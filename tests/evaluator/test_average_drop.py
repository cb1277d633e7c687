"""Average drop and increase in confidence, against a plain loop over images and pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from toy_maps import B, Case, H, W, small_network

from cam_lightning.evaluator.average_drop import AverageDrop


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(small_network())


def scores_by_hand(map_hw: torch.Tensor, normalise: str, rectify: bool) -> np.ndarray:
    """Upsampled, rectified, normalised; 0 where the map names no region."""
    value_HW = torch.nn.functional.interpolate(map_hw[None, None], (H, W), mode="bilinear")[0, 0].double().numpy()
    if rectify:
        value_HW = np.maximum(value_HW, 0)
    low = value_HW.min() if normalise == "minmax" else 0.0
    if len(map_hw.unique()) == 1 or value_HW.max() <= low:
        return np.zeros((H, W))
    return np.clip((value_HW - low) / (value_HW.max() - low), 0, 1)


def plain_loop(case: Case, b: int, of: str, normalise: str, rectify: bool) -> tuple[float, float]:
    label = int(case.classes_BT[b, 0] if of == "predicted" else case.label_B[b])
    map_hw = case.map_BThw[b, 0] if of == "predicted" else case.label_map_Bhw[b]
    score_HW = scores_by_hand(map_hw, normalise, rectify)
    image = case.image_B3HW[b].clone()
    for y in range(H):
        for x in range(W):
            for colour in range(3):
                image[colour, y, x] *= score_HW[y, x]
    with torch.no_grad():
        before, after = (
            float(case.network(each[None]).logits_BC.softmax(1)[0, label]) for each in (case.image_B3HW[b], image)
        )
    return max(0.0, before - after) / before, float(after > before)


@pytest.mark.parametrize("of", ["predicted", "label"])
@pytest.mark.parametrize(("normalise", "rectify", "batch_size"), [("max", True, 3), ("minmax", False, 32)])
def test_it_equals_a_plain_loop(case: Case, of: str, normalise: str, rectify: bool, batch_size: int) -> None:
    evaluator = AverageDrop(of, rectify, normalise, batch_size=batch_size)
    for rows in ([6, 0], [], [1, 2, 3, 4, 5]):
        case.update(evaluator, rows)
    loops = [plain_loop(case, b, of, normalise, rectify) for b in range(B)]
    drop, increase = (sum(values) / B for values in zip(*loops, strict=True))
    assert evaluator.compute() == pytest.approx({"average_drop": drop, "increase_in_confidence": increase}, abs=1e-6)
    assert len({round(each, 4) for each, _ in loops}) > 2, "the images differ"


def test_every_third_image_is_told_by_its_position(case: Case) -> None:
    evaluator = AverageDrop(every=3)
    for rows in ([5, 1], [3, 0, 4], [2], [6]):
        case.update(evaluator, rows)
    loops = [plain_loop(case, b, "predicted", "max", True)[0] for b in (0, 3, 6)]
    assert evaluator.count("num_images") == 3
    assert evaluator.compute()["average_drop"] == pytest.approx(sum(loops) / 3, abs=1e-6)


def test_a_map_that_names_no_region_leaves_nothing(case: Case) -> None:
    """The third one is constant: what is asked is the mean colour."""
    evaluator = AverageDrop()
    case.update(evaluator, [3])
    label = int(case.classes_BT[3, 0])
    with torch.no_grad():
        blank = float(case.network(torch.zeros(1, 3, H, W)).logits_BC.softmax(1)[0, label])
        before = float(case.network(case.image_B3HW[3:4]).logits_BC.softmax(1)[0, label])
    expected = {"average_drop": max(0, before - blank) / before, "increase_in_confidence": float(blank > before)}
    assert evaluator.compute() == pytest.approx(expected, abs=1e-6)


def test_probabilities_that_are_no_numbers_are_said_with_the_image(case: Case) -> None:
    other = Case(case.network)
    other.image_B3HW[4, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match=r"average_drop.*position 4 "):
        other.update(AverageDrop(), [2, 4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": "best"}, "predicted or label; got 'best'"),
        ({"normalise": "none"}, "normalise is one of max, minmax"),
        ({"every": 0}, "every is at least 1; got 0"),
    ],
)
def test_options_that_there_are_not_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AverageDrop(**options)


def test_the_numbers_say_what_they_are(case: Case) -> None:
    evaluator = AverageDrop()
    case.update(evaluator, [0])
    assert set(evaluator.specs()) == set(evaluator.compute())
    assert {name: spec.better for name, spec in evaluator.specs().items()} == {
        "average_drop": "lower",
        "increase_in_confidence": "higher",
    }
