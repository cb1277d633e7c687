"""What a hit is, image by image and guess by guess."""

from __future__ import annotations

import random

import pytest
import torch
from toy_localization import localization_of

from cam_lightning.contracts import GroundTruth, Localization, Proposals
from cam_lightning.functional.localization_error import gt_known_hits, top_k_hits


def localization(classes: list[list[int]], rank_P: tuple[int, ...], label_boxes: list[list[float]]) -> Localization:
    B, T, P = len(classes), len(classes[0]), len(rank_P)
    return localization_of(
        classes_BT=torch.tensor(classes),
        probability_BT=torch.zeros(B, T),
        map_BThw=torch.zeros(B, T, 2, 3),
        proposals=Proposals(torch.zeros(B, P, 4), rank_P, torch.zeros(B, P, dtype=torch.bool)),
        label_map_Bhw=torch.zeros(B, 2, 3),
        label_box_B4=torch.tensor(label_boxes),
        label_degenerate_B=torch.zeros(B, dtype=torch.bool),
    )


def ground_truth(labels: list[int], boxes: list[list[list[float]]], num_boxes: list[int]) -> GroundTruth:
    size_B2 = torch.tensor([[30, 50]] * len(labels))
    return GroundTruth(torch.tensor(labels), torch.tensor(boxes), torch.tensor(num_boxes), size_B2)


@pytest.mark.parametrize("rank_P", [(0, 1, 2, 3, 4), (0, 0, 1, 1, 2, 3), (2, 0, 1), (0,)])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_hits_against_a_plain_loop(rank_P: tuple[int, ...], k: int) -> None:
    """The first k guesses are proposals, which need not be one per class (`top5_heuristic` has several)."""
    rng = random.Random(0)
    B = 100
    classes = [rng.sample(range(6), 5) for _ in range(B)]
    labels = [rng.randrange(6) for _ in range(B)]
    ious = [[rng.choice([0.0, 0.4999, 0.5, 0.9]) for _ in rank_P] for _ in range(B)]
    hits = top_k_hits(
        localization(classes, rank_P, [[0.0] * 4] * B),
        ground_truth(labels, [[]] * B, [0] * B),
        k,
        torch.tensor(ious, dtype=torch.float64),
        0.5,
    ).tolist()
    for b in range(B):
        expected = False
        for guess, rank in enumerate(rank_P):
            if guess < k and classes[b][rank] == labels[b] and ious[b][guess] >= 0.5:
                expected = True
        assert hits[b] is expected
    assert len(set(hits)) == 2


def test_gt_known_by_hand() -> None:
    """The best of several boxes counts, exactly one half is a hit, and padding is not a box."""
    box = [0.0, 0, 10, 4]
    half, other, empty = [0.0, 0, 5, 4], [20.0, 20, 30, 24], [0.0] * 4
    truth = ground_truth(
        [0] * 5,
        [[other, half], [half, empty], [other, half], [other, box], [empty, empty]],
        [2, 1, 1, 2, 0],
    )
    # The classes never say the label: GT-known does not ask what was predicted.
    answer = localization([[5, 4, 3, 2, 1]] * 5, (0, 1, 2, 3, 4), [box] * 5)
    assert gt_known_hits(answer, truth, 0.5).tolist() == [True, True, False, True, False]
    assert gt_known_hits(answer, truth, 0.51).tolist() == [False, False, False, True, False]
