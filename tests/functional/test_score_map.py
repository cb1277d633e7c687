"""Score maps against the same steps in plain numpy, and the maps that have no score."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.functional.score_map import score_map

MAP_HW = torch.tensor([[-1.0, 0.0, 3.0], [1.0, 2.0, -2.0]])


@pytest.mark.parametrize(
    ("normalise", "rectify", "expected"),
    [
        ("minmax", False, [[1 / 5, 2 / 5, 1], [3 / 5, 4 / 5, 0]]),
        ("minmax", True, [[0, 0, 1], [1 / 3, 2 / 3, 0]]),
        ("max", False, [[0, 0, 1], [1 / 3, 2 / 3, 0]]),
    ],
)
def test_at_its_own_size(normalise: str, rectify: bool, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(score_map(MAP_HW, (2, 3), normalise, rectify), expected, atol=1e-15)


@pytest.mark.parametrize("upsample", ["bilinear", "bicubic", "nearest"])
def test_is_upsampled_before_it_is_normalised(upsample: str) -> None:
    """Bilinear sampling misses the peaks, bicubic overshoots them; the score reaches 0 and 1 all the same."""
    score_HW = score_map(MAP_HW, (9, 16), upsample=upsample)
    raw_HW = torch.nn.functional.interpolate(MAP_HW[None, None], (9, 16), mode=upsample)[0, 0].double().numpy()
    assert score_HW.shape == (9, 16)
    assert score_HW.dtype == np.float64
    np.testing.assert_array_equal(score_HW, (raw_HW - raw_HW.min()) / (raw_HW.max() - raw_HW.min()))
    assert (score_HW.min(), score_HW.max()) == (0, 1)


@pytest.mark.parametrize(
    ("values", "normalise"),
    [
        ([[0.1, 0.1]], "minmax"),
        ([[0.1, 0.1]], "max"),
        ([[-2.0, -1.0]], "max"),
        ([[1.0, float("nan")]], "minmax"),
        ([[1.0, float("inf")]], "max"),
    ],
)
def test_a_map_that_names_no_region_scores_nothing(values: list[list[float]], normalise: str) -> None:
    assert score_map(torch.tensor(values), (7, 9), normalise).tolist() == np.zeros((7, 9)).tolist()


def test_bad_options_are_errors() -> None:
    with pytest.raises(ValueError, match="max or minmax"):
        score_map(MAP_HW, (4, 4), normalise="none")
    with pytest.raises(ValueError, match="bicubic"):
        score_map(MAP_HW, (4, 4), upsample="area")
