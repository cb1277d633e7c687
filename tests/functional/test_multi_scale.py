"""Merging maps of several sizes, against plain loops over images, classes and sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.functional.multi_scale import ABOVE, LARGE, MERGES, SMALL, aligned, extent

MAPS = [
    torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(n))
    for n, size in enumerate([(3, 4), (5, 6), (6, 8)])
]


def disc(share: float) -> torch.Tensor:
    """A map of 10×10 cells, of which a share is 1."""
    return (torch.arange(100) < round(100 * share)).float().reshape(1, 1, 10, 10)


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


def test_the_extent_is_the_share_of_cells_above_a_fifth() -> None:
    for share in (0.01, 0.4, 1.0):
        assert float(extent(disc(share))) == pytest.approx(share)
    assert float(extent(torch.tensor([[[[10.0, 2.1], [1.9, -5.0]]]]))) == 0.5
    assert ABOVE == 0.2
    assert float(extent(-torch.ones(1, 1, 2, 2))) == 1


def test_large_objects_come_from_the_first_size_and_small_ones_from_the_last() -> None:
    """All sizes cover the same cells, with values of their own inside."""
    inside = torch.linspace(0.5, 1, 100).reshape(1, 1, 10, 10)
    for share, first in ((LARGE + 0.1, True), (SMALL - 0.02, False)):
        sizes = torch.stack([disc(share), disc(share) * inside, disc(share) * inside**2])
        expected = sizes[0 if first else 2]
        torch.testing.assert_close(MERGES["extent"](sizes), expected / expected.amax())


@pytest.mark.parametrize("seed", range(3))
def test_between_them_neighbours_are_blended_in_proportion(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.normal(size=(3, 40, 2, 6, 8)) + random.uniform(-1, 2, size=(1, 40, 2, 1, 1))
    merged = MERGES["extent"](torch.from_numpy(sizes).float()).numpy()
    blended = 0
    for b in range(40):
        for t in range(2):
            shares = [sizes[s, b, t] / sizes[s, b, t].max() for s in range(3)]
            mean = sum(shares) / 3
            covered = (mean > 0.2 * mean.max()).mean()
            place = min(max((LARGE - covered) / (LARGE - SMALL), 0), 1) * 2
            low = min(int(place), 1)
            expected = (1 - (place - low)) * shares[low] + (place - low) * shares[low + 1]
            np.testing.assert_allclose(merged[b, t], expected, atol=1e-4)
            blended += 0 < place < 2
    assert blended > 5


@pytest.mark.parametrize("merge", MERGES)
def test_maps_without_evidence_stay_finite(merge: str) -> None:
    for value in (0.0, -3.0, -30.0):
        assert MERGES[merge](torch.full((2, 1, 1, 3, 4), value)).isfinite().all()


def test_a_size_without_evidence_spoils_no_other() -> None:
    """A small object that the largest input alone loses: nothing of its logits, far below 0, may pass for infinity."""
    large = torch.full((1, 1, 10, 10), -9.0)
    for sizes in ([disc(0.3), disc(0.3), large], [large, disc(0.3), disc(0.3)]):
        merged = MERGES["extent"](torch.stack(sizes))
        assert merged.isfinite().all()
    assert MERGES["extent"](torch.stack([large, large - 1])).equal(large)
