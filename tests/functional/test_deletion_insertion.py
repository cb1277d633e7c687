"""Which pixels go first, what takes their place, and the area under what is left."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.functional.deletion_insertion import area_under_curve, blurred, importance_rank, replaced


def test_the_largest_values_come_first_and_equal_ones_row_by_row() -> None:
    map_hw = torch.tensor([[1.0, 5.0, 1.0], [5.0, -2.0, 7.0]])
    assert importance_rank(map_hw, (2, 3)).tolist() == [[3, 1, 4], [2, 5, 0]]


@pytest.mark.parametrize("value", [0.0, 1 / 3, -2.7])
def test_a_constant_map_goes_row_by_row(value: float) -> None:
    """At every size: upsampled, it would differ in its last bits."""
    rank_HW = importance_rank(torch.full((3, 4), value), (10, 7))
    assert rank_HW.flatten().tolist() == list(range(70))


def test_what_is_not_a_number_has_a_place_too() -> None:
    rank_HW = importance_rank(torch.tensor([[1.0, torch.nan], [2.0, torch.nan]]), (2, 2))
    assert rank_HW.tolist() == [[3, 0], [2, 1]]


def test_maps_are_upsampled_to_the_image() -> None:
    """Twice as wide: three quarters of the nearer cell, one of the other; the ends repeat."""
    row = [0.0, 8.0, 4.0]
    upsampled = [0.0, 2.0, 6.0, 7.0, 5.0, 4.0]
    order = sorted(range(6), key=lambda x: -upsampled[x])
    assert importance_rank(torch.tensor([row]), (1, 6)).tolist() == [[order.index(x) for x in range(6)]]


def test_pixels_are_replaced_in_all_colours() -> None:
    image, other = torch.zeros(3, 3, 2, 2), torch.arange(1.0, 37.0).reshape(3, 3, 2, 2)
    rank_HW = torch.tensor([[2, 0], [3, 1]])
    result = replaced(image, other, rank_HW, torch.tensor([0, 2, 4]))
    for s, count in enumerate((0, 2, 4)):
        for colour in range(3):
            for y in range(2):
                for x in range(2):
                    expected = other[s, colour, y, x] if rank_HW[y, x] < count else 0
                    assert result[s, colour, y, x] == expected


@pytest.mark.parametrize(("size", "sigma"), [(11, 5.0), (5, 0.8), (1, 3.0)])
def test_the_blur_is_the_released_codes(size: int, sigma: float) -> None:
    """A filtered impulse of the kernel's size, then a plain sum over neighbours with zeros beyond the border."""
    filters = pytest.importorskip("scipy.ndimage")
    impulse = np.zeros((size, size))
    impulse[size // 2, size // 2] = 1
    kernel = filters.gaussian_filter(impulse, sigma)
    image = torch.randn(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    padded = np.pad(image.double().numpy(), ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2))
    expected = np.zeros((2, 3, 6, 9))
    for y in range(6):
        for x in range(9):
            expected[:, :, y, x] = (padded[:, :, y : y + size, x : x + size] * kernel).sum((2, 3))
    assert blurred(image, size, sigma).dtype == torch.float32
    assert np.abs(blurred(image, size, sigma).numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(("size", "sigma"), [(10, 5.0), (0, 5.0), (11, 0.0)])
def test_a_blur_without_a_middle_or_a_width_is_refused(size: int, sigma: float) -> None:
    with pytest.raises(ValueError, match=f"got {size} and {sigma}"):
        blurred(torch.zeros(1, 3, 4, 4), size, sigma)


def test_the_area_is_that_of_trapezoids() -> None:
    """1 → 0.5 over a quarter, 0.5 → 0.25 over the rest: 0.1875 + 0.28125."""
    assert area_under_curve(torch.tensor([1.0, 0.5, 0.25]), torch.tensor([0.0, 0.25, 1.0])) == 0.46875
