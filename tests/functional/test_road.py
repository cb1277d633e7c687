"""Pixels filled from their surroundings, against the whole system of equations solved densely."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.functional.road import imputed, removals, removed

H, W = 9, 13


@pytest.fixture
def image_3HW() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, H, W)).astype(np.float32)


def solved_densely(image_3HW: np.ndarray, is_removed_HW: np.ndarray) -> np.ndarray:
    """One equation for every pixel: a known one is itself, another the weighted mean of its neighbours."""
    pixels = [(y, x) for y in range(H) for x in range(W)]
    matrix = np.eye(H * W)
    for place, (y, x) in enumerate(pixels):
        if not is_removed_HW[y, x]:
            continue
        weights = {}
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if (dy or dx) and 0 <= y + dy < H and 0 <= x + dx < W:
                    weights[(y + dy) * W + x + dx] = 1 / 12 if dy and dx else 1 / 6
        for other, weight in weights.items():
            matrix[place, other] = -weight / sum(weights.values())
    known_3P = np.where(is_removed_HW, 0, image_3HW).reshape(3, -1).astype(np.float64)
    return np.linalg.solve(matrix, known_3P.T).T.reshape(3, H, W)


def masks() -> list[np.ndarray]:
    random = np.random.default_rng(1)
    found = [random.random((H, W)) < share for share in (0.1, 0.5, 0.9)]
    whole_but_one = np.ones((H, W), bool)
    whole_but_one[4, 7] = False
    corner, block = np.zeros((2, H, W), bool)
    corner[:3, :5] = True
    block[2:8, 3:11] = True
    return [*found, whole_but_one, corner, block]


@pytest.mark.parametrize("number", range(6))
def test_it_solves_the_system(image_3HW: np.ndarray, number: int) -> None:
    mask_HW = masks()[number]
    filled = imputed(image_3HW, mask_HW)
    assert filled.dtype == np.float32
    np.testing.assert_allclose(filled, solved_densely(image_3HW, mask_HW), atol=2e-4)
    assert (filled[:, ~mask_HW] == image_3HW[:, ~mask_HW]).all()
    assert (filled[:, mask_HW] != image_3HW[:, mask_HW]).any()


def test_one_colour_that_is_flat_does_not_hold_up_the_others(image_3HW: np.ndarray) -> None:
    image_3HW[1] = 0
    image_3HW[2] = 7
    filled = imputed(image_3HW, masks()[1])
    assert (filled[1] == 0).all()
    np.testing.assert_allclose(filled[2], 7, atol=1e-3)


def test_nothing_removed_changes_nothing_and_everything_is_refused(image_3HW: np.ndarray) -> None:
    assert (imputed(image_3HW, np.zeros((H, W), bool)) == image_3HW).all()
    with pytest.raises(ValueError, match="every pixel is removed"):
        imputed(image_3HW, np.ones((H, W), bool))


def test_the_most_and_the_least_relevant_go_in_turn() -> None:
    rank_HW = torch.tensor([[0, 3, 2], [5, 1, 4]])
    most, least = removals(rank_HW, [0.2, 0.5])
    assert most.tolist() == [[[True, False, False], [False] * 3], [[True, False, True], [False, True, False]]]
    assert least.tolist() == [[[False] * 3, [True, False, False]], [[False, True, False], [True, False, True]]]


def test_noise_is_a_function_of_its_seed_and_lies_on_removed_pixels_alone(image_3HW: np.ndarray) -> None:
    image = torch.from_numpy(image_3HW)
    mask_SHW = torch.from_numpy(np.stack(masks()[:2]))
    one, same, other = (removed(image, mask_SHW, 0.5, seed) for seed in ((3, 1), (3, 1), (3, 2)))
    assert one.equal(same)
    assert not one.equal(other)
    plain = removed(image, mask_SHW, 0.0, (3, 1))
    noise = (one - plain).permute(0, 2, 3, 1)
    assert (noise[~mask_SHW] == 0).all()
    assert noise[mask_SHW].std() == pytest.approx(0.5, rel=0.2)
