"""Matlab's bicubic `imresize`, against its definition pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cam_lightning.functional.imresize import imresize


def cubic(x: float) -> float:
    """Keys' kernel, a = -0.5."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_row(row: list[float], num_pixels: int) -> list[float]:
    n = len(row)
    scale = num_pixels / n
    stretch = max(1, 1 / scale)
    mirrored = row + row[::-1]
    out = []
    for pixel in range(num_pixels):
        centre = (pixel + 0.5) / scale - 0.5
        total = weights = 0.0
        for cell in range(math.floor(centre - 2 * stretch), math.ceil(centre + 2 * stretch) + 1):
            weight = cubic((centre - cell) / stretch)
            total += weight * mirrored[cell % (2 * n)]
            weights += weight
        out.append(total / weights)
    return out


def slow(map_hw: Tensor, size: tuple[int, int]) -> Tensor:
    wide = torch.tensor([slow_row(row, size[1]) for row in map_hw.tolist()], dtype=torch.float64)
    return torch.tensor([slow_row(column, size[0]) for column in wide.T.tolist()], dtype=torch.float64).T


@pytest.mark.parametrize("size", [(9, 13), (4, 6), (2, 3), (1, 1), (11, 2), (40, 1)])
@pytest.mark.parametrize("cells", [(4, 6), (1, 5), (2, 1)])
def test_every_pixel_is_the_kernel_s_sum(cells: tuple[int, int], size: tuple[int, int]) -> None:
    maps = torch.randn(2, *cells, generator=torch.Generator().manual_seed(0))
    resized = imresize(maps, size)
    assert resized.dtype == torch.float64
    for map_hw, one in zip(maps, resized, strict=True):
        torch.testing.assert_close(one, slow(map_hw.double(), size), rtol=0, atol=1e-12)


def test_by_hand() -> None:
    """Twice as many pixels: each is 0.25 cells from one centre; the kernel's weights there are in 128ths."""
    weights = [cubic(d) * 128 for d in (1.75, 0.75, 0.25, 1.25)]
    assert weights == pytest.approx([-3, 29, 111, -9])
    row = imresize(torch.tensor([[0.0, 128.0, 0.0, 0.0]]), (1, 8))[0]
    # The first two pixels see cells mirrored at the border: 0 | 0, 128.
    assert row.tolist() == pytest.approx([-12, 29, 111, 111, 29, -9, -3, 0])


def test_the_same_size_changes_nothing_and_none_is_refused() -> None:
    maps = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).double()
    assert torch.equal(imresize(maps, (3, 5)), maps)
    with pytest.raises(ValueError, match="at least one pixel"):
        imresize(maps, (0, 5))
