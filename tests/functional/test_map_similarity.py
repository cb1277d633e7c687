"""Rank correlation against SciPy's, structural similarity against torchmetrics'."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from cam_lightning.functional.map_similarity import rank_correlation, structural_similarity


def test_ranks_are_correlated_as_scipy_does() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(6, 5, 7, generator=generator)
    b = a + torch.randn(6, 5, 7, generator=generator)
    a[3:], b[3:] = a[3:].round(), b[3:].round()  # with many ties
    expected = [scipy.stats.spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    assert rank_correlation(a, b).tolist() == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(a[:3], a[:3].exp()).tolist() == pytest.approx([1, 1, 1])
    assert rank_correlation(a[:3], -a[:3]).tolist() == pytest.approx([-1, -1, -1])


def test_constant_maps_and_what_is_no_number() -> None:
    flat, slope = torch.zeros(1, 2, 3), torch.arange(6.0).reshape(1, 2, 3)
    assert rank_correlation(flat, flat + 1).tolist() == [1]
    assert rank_correlation(flat, slope).tolist() == [0]
    slope[0, 0, 0] = torch.nan
    assert rank_correlation(slope, slope).isnan().all()


@pytest.mark.parametrize("size", [(11, 11), (23, 40), (31, 12)])
def test_structures_are_compared_as_torchmetrics_does(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(4, *size, generator=generator)
    b = (a + 0.4 * torch.rand(4, *size, generator=generator)).clamp(max=1)
    # torchmetrics mirrors the border into windows that reach beyond it.
    expected = structural_similarity_index_measure(
        a[:, None].double(), b[:, None].double(), data_range=1.0, reduction="none"
    )
    assert isinstance(expected, torch.Tensor)
    wide_a, wide_b = (torch.nn.functional.pad(each, (5, 5, 5, 5), mode="reflect") for each in (a, b))
    assert structural_similarity(wide_a, wide_b).tolist() == pytest.approx(expected.flatten().tolist(), abs=1e-6)
    assert structural_similarity(a, a).tolist() == pytest.approx([1] * 4)


def test_a_map_smaller_than_the_window_is_compared_whole() -> None:
    a = torch.rand(2, 4, 9, generator=torch.Generator().manual_seed(2))
    assert structural_similarity(a, a).tolist() == pytest.approx([1, 1])
    assert (structural_similarity(a, 1 - a) < 0.5).all()
