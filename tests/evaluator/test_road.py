"""ROAD against a plain loop that removes pixel by pixel and asks the network input by input."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from toy_maps import B, Case, H, W, small_network

from cam_lightning.evaluator.road import Road
from cam_lightning.functional.road import imputed

PERCENTAGES = (15, 40, 80)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(small_network())


def plain_loop(case: Case, b: int, of: str) -> tuple[float, float]:
    label = int(case.classes_BT[b, 0] if of == "predicted" else case.label_B[b])
    map_hw = case.map_BThw[b, 0] if of == "predicted" else case.label_map_Bhw[b]
    value_HW = torch.nn.functional.interpolate(map_hw[None, None], (H, W), mode="bilinear")[0, 0]
    if len(map_hw.unique()) == 1:
        value_HW = torch.zeros(H, W)
    order = sorted(((y, x) for y in range(H) for x in range(W)), key=lambda pixel: (-float(value_HW[pixel]), pixel))
    means = []
    for pixels in (order, order[::-1]):
        total = 0.0
        for percentage in PERCENTAGES:
            mask_HW = np.zeros((H, W), bool)
            for pixel in pixels[: percentage * H * W // 100]:
                mask_HW[pixel] = True
            image = torch.from_numpy(imputed(case.image_B3HW[b].numpy(), mask_HW))
            with torch.no_grad():
                total += float(case.network(image[None]).logits_BC.softmax(1)[0, label])
        means.append(total / len(PERCENTAGES))
    return means[0], means[1]


@pytest.mark.parametrize("of", ["predicted", "label"])
def test_it_equals_a_plain_loop(case: Case, of: str) -> None:
    evaluator = Road(PERCENTAGES, noise=0.0, of=of, batch_size=4)
    case.update(evaluator, range(B))
    loops = [plain_loop(case, b, of) for b in range(B)]
    most, least = (sum(values) / B for values in zip(*loops, strict=True))
    expected = {
        "road/combined": (least - most) / 2,
        "road/most_relevant_first": most,
        "road/least_relevant_first": least,
    }
    assert evaluator.compute() == pytest.approx(expected, abs=1e-5)
    assert len({round(each, 3) for each, _ in loops}) > 3, "the images differ"


def test_no_split_over_batches_changes_a_bit(case: Case) -> None:
    """Noise too is the image's own."""
    whole, split, other = Road(PERCENTAGES), Road(PERCENTAGES), Road(PERCENTAGES, seed=1)
    case.update(whole, range(B))
    for rows in ([6], [5, 2], [0, 1], [4, 3]):
        case.update(split, rows)
    case.update(other, range(B))
    assert whole.compute() == split.compute() != other.compute()


def test_it_says_what_it_is_and_nothing_of_no_image(case: Case) -> None:
    evaluator = Road(PERCENTAGES)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method")
        assert evaluator.compute() == {}
    evaluator.reset()
    case.update(evaluator, [0])
    assert set(evaluator.specs()) == set(evaluator.compute())
    assert evaluator.specs()["road/combined"].better == "higher"
    assert evaluator.specs()["road/most_relevant_first"].better == "lower"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentages": []}, "between 0 and 100"),
        ({"percentages": [100]}, "between 0 and 100"),
        ({"noise": -1}, "not below 0"),
    ],
)
def test_options_that_there_are_not_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Road(**options)
