"""Merging maps of several sizes, against plain loops over images, classes and sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.functional.multi_scale import MERGES, aligned

MAPS = [
    torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(n))
    for n, size in enumerate([(3, 4), (5, 6), (6, 8)])
]


def test_maps_are_aligned_to_the_largest() -> None:
    together = aligned(MAPS)
    assert together.shape == (3, 3, 2, 6, 8)
    assert together[2].equal(MAPS[2])
    expected = torch.nn.functional.interpolate(MAPS[0], (6, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(together[0], expected)


def test_mean_and_maximum_keep_the_unit() -> None:
    together = aligned(MAPS)
    values = together.numpy()
    np.testing.assert_allclose(MERGES["mean"](together).numpy(), values.mean(0), atol=1e-6)
    np.testing.assert_array_equal(MERGES["max"](together).numpy(), values.max(0))


@pytest.mark.parametrize("merge", MERGES)
def test_maps_without_evidence_stay_finite(merge: str) -> None:
    for value in (0.0, -3.0):
        assert MERGES[merge](torch.full((2, 1, 1, 3, 4), value)).isfinite().all()
