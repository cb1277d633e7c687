"""Deletion and insertion against a plain loop, one image, one pixel and one forward at a time."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_maps import B, Case, H, W, small_network

from cam_lightning.backbone.network import GapNetwork
from cam_lightning.evaluator.deletion_insertion import DeletionInsertion
from cam_lightning.functional.deletion_insertion import blurred


@pytest.fixture(scope="module")
def network() -> GapNetwork:
    return small_network()


@pytest.fixture(scope="module")
def case(network: GapNetwork) -> Case:
    return Case(network)


def probability(network: GapNetwork, image: Tensor, label: int) -> float:
    with torch.no_grad():
        logits = [float(logit) for logit in network(image[None]).logits_BC[0]]
    exponentials = np.exp(np.array(logits) - max(logits))
    return float(exponentials[label] / exponentials.sum())


def plain_loop(case: Case, b: int, of: str, steps: int) -> dict[str, float]:
    """Pixel after pixel goes; at the end of every step the network is asked."""
    label = int(case.classes_BT[b, 0] if of == "predicted" else case.label_B[b])
    map_hw = case.map_BThw[b, 0] if of == "predicted" else case.label_map_Bhw[b]
    value_HW = torch.nn.functional.interpolate(map_hw[None, None], (H, W), mode="bilinear")[0, 0]
    if len(map_hw.unique()) == 1:
        value_HW = torch.zeros(H, W)
    pixels = sorted(((y, x) for y in range(H) for x in range(W)), key=lambda pixel: (-float(value_HW[pixel]), pixel))
    image = case.image_B3HW[b]
    areas = {}
    for name, start, finish in (
        ("deletion", image, torch.zeros_like(image)),
        ("insertion", blurred(image[None])[0], image),
    ):
        now, area, share = start.clone(), 0.0, 0.0
        before = probability(case.network, now, label)
        gone = 0
        for step in range(1, steps + 1):
            while gone < step * H * W // steps:
                y, x = pixels[gone]
                for colour in range(3):
                    now[colour, y, x] = finish[colour, y, x]
                gone += 1
            after = probability(case.network, now, label)
            area += (gone / (H * W) - share) * (before + after) / 2
            before, share = after, gone / (H * W)
        assert torch.equal(now, finish)
        areas[name] = area
    return areas


@pytest.mark.parametrize("of", ["predicted", "label"])
@pytest.mark.parametrize(("steps", "batch_size"), [(1, 32), (9, 4), (5, 1)])
def test_it_equals_a_plain_loop(case: Case, of: str, steps: int, batch_size: int) -> None:
    """Nine steps divide the pixels of the image, five do not."""
    evaluator = DeletionInsertion(steps, of, batch_size=batch_size)
    case.update(evaluator, range(B))
    loops = [plain_loop(case, b, of, steps) for b in range(B)]
    expected = {name: sum(loop[name] for loop in loops) / B for name in ("deletion", "insertion")}
    assert evaluator.compute() == pytest.approx(expected, abs=1e-6)
    assert len({round(loop["deletion"], 3) for loop in loops}) > 3, "the images differ"


def test_every_tenth_image_is_told_by_its_position(case: Case) -> None:
    evaluator = DeletionInsertion(3, every=3)
    for rows in ([5, 1], [3, 0, 4], [2], [6]):
        case.update(evaluator, rows)
    assert evaluator.count("num_images") == 3
    loops = [plain_loop(case, b, "predicted", 3) for b in (0, 3, 6)]
    expected = {name: sum(loop[name] for loop in loops) / 3 for name in loops[0]}
    assert evaluator.compute() == pytest.approx(expected, abs=1e-6)


def test_no_split_over_batches_and_ranks_changes_a_bit(case: Case) -> None:
    whole = DeletionInsertion(4)
    case.update(whole, range(B))
    expected = whole.compute()
    for shares in ([[6, 5, 4], [3], [2, 1, 0]], [[0], [1], [2], [3], [4], [5], [6]], [[4, 1, 6, 0, 2, 5, 3], []]):
        ranks = [DeletionInsertion(4) for _ in shares]
        for rank, rows in zip(ranks, shares, strict=True):
            if rows:
                case.update(rank, rows)
        assert _synced(ranks) == expected


def _synced(ranks: list[DeletionInsertion]) -> dict[str, float]:
    """What `compute` gives on the last rank where the process group holds all."""
    last = ranks[-1]

    def gather(state: Tensor, group: object = None) -> list[Tensor]:
        name = next(name for name, value in vars(last).items() if value is state)
        return [getattr(rank, name).clone() for rank in ranks]

    last.dist_sync_fn = gather
    last.distributed_available_fn = lambda: True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method")  # of a rank that has no image
        return last.compute()


def test_the_network_is_left_as_it_was(case: Case) -> None:
    """Its dropout would make every probability another; its mode is not this room's to change."""
    evaluating, training = DeletionInsertion(3), DeletionInsertion(3)
    case.update(evaluating, range(B))
    case.network.train()
    case.network.classifier.eval()
    try:
        modes = [module.training for module in case.network.modules()]
        case.update(training, range(B))
        assert [module.training for module in case.network.modules()] == modes
    finally:
        case.network.eval()
    assert training.compute() == evaluating.compute()


def test_probabilities_that_are_no_numbers_are_said_with_the_image(case: Case) -> None:
    pixels = case.image_B3HW
    case.image_B3HW = pixels.clone()
    case.image_B3HW[4, 0, 0, 0] = torch.nan
    try:
        with pytest.raises(FloatingPointError, match="position 4 "):
            case.update(DeletionInsertion(3), [2, 4])
    finally:
        case.image_B3HW = pixels


def test_without_an_image_there_is_no_number() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method")
        assert DeletionInsertion().compute() == {}


def test_the_numbers_say_what_they_are(case: Case) -> None:
    evaluator = DeletionInsertion(2)
    case.update(evaluator, [0])
    specs = evaluator.specs()
    assert set(specs) == set(evaluator.compute())
    assert {name: spec.better for name, spec in specs.items()} == {"deletion": "lower", "insertion": "higher"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"of": "best"}, "predicted or label; got 'best'"),
        ({"steps": 0}, "steps is at least 1; got 0"),
        ({"every": 0}, "every is at least 1; got 0"),
        ({"batch_size": 0}, "batch_size is at least 1; got 0"),
        ({"blur_size": 10}, "odd"),
    ],
)
def test_options_that_there_are_not_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeletionInsertion(**options)
