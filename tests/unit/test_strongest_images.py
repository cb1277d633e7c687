"""The images that activate a unit most: against sorting everything, in any batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cam_lightning.unit.strongest_images import StrongestImages

UNITS = torch.tensor([4, 1])


def by_sorting(features_BKhw: Tensor, num_images: int) -> list[list[int]]:
    """Positions of the images, the strongest first, of equal ones the first; those that activate nothing left out."""
    chosen = []
    for unit in UNITS.tolist():
        peaks = features_BKhw[:, unit].flatten(1).amax(1).tolist()
        order = sorted(range(len(peaks)), key=lambda image: (-peaks[image], image))
        chosen.append([image for image in order if peaks[image] > 0][:num_images])
    return chosen


@pytest.mark.parametrize("batch_size", [1, 3, 4, 25])
def test_any_batches_give_the_same(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features_BKhw = torch.randint(-3, 6, (25, 6, 2, 3), generator=generator).float()  # many ties
    features_BKhw[:, 1] -= 4  # most images do not activate this unit
    strongest = StrongestImages(UNITS, 7)
    for images in torch.arange(25).split(batch_size):
        strongest.update(features_BKhw[images], images)
    expected = by_sorting(features_BKhw, 7)
    assert [[i for i in row if i >= 0] for row in strongest.index_KN.tolist()] == expected
    assert len(expected[1]) > 0
    assert strongest.map_KNhw is not None
    for place, unit in enumerate(UNITS.tolist()):
        for nth, image in enumerate(expected[place]):
            map_hw = features_BKhw[image, unit]
            assert strongest.map_KNhw[place, nth].equal(map_hw)
            assert strongest.peak_KN[place, nth] == map_hw.max()
            row, column = strongest.cell(place, nth)
            assert map_hw[row, column] == map_hw.max()


def test_memory_does_not_grow_with_images() -> None:
    strongest = StrongestImages(UNITS, 2)
    for first in range(0, 40, 4):
        strongest.update(torch.rand(4, 6, 3, 5), torch.arange(first, first + 4))
    assert strongest.map_KNhw is not None
    assert strongest.map_KNhw.shape == (2, 2, 3, 5)
