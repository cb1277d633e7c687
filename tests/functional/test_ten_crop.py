"""Ten crops and back, by hand and against what the authors' own code makes of their own network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from cam_lightning.functional.cam import class_activation_map
from cam_lightning.functional.ten_crop import mean_of_crops, sum_of_crops, ten_crops


def test_the_order_of_the_crops() -> None:
    """On 3×3 pixels numbered row by row, crops of 2: corners down the left, down the right, centre, mirrored."""
    image = torch.arange(9).reshape(1, 3, 3)
    crops = ten_crops(image, 2)[:, 0].tolist()
    left_top, left_bottom = [[0, 1], [3, 4]], [[3, 4], [6, 7]]
    right_top, right_bottom = [[1, 2], [4, 5]], [[4, 5], [7, 8]]
    assert crops[:5] == [left_top, left_bottom, right_top, right_bottom, left_top]
    assert crops[5:] == [[row[::-1] for row in crop] for crop in crops[:5]]


def test_crops_of_an_image_give_the_image_back() -> None:
    """Maps as large as the crops are put where they came from, whatever their sign."""
    image = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(0)).double()
    maps = ten_crops(image, 8).transpose(0, 1)
    torch.testing.assert_close(mean_of_crops(maps, 12, 8), image)
    merged = sum_of_crops(maps, 12, 8)
    for y, x, crops in [(0, 0, 1), (0, 5, 2), (5, 0, 2), (2, 2, 2), (5, 5, 5), (11, 11, 1)]:
        # Each crop counts twice, mirrored and not, in three colours.
        torch.testing.assert_close(merged[:, y, x], 3 * 2 * crops * image[:, y, x].abs())


def test_the_mean_has_no_seams_and_the_sum_has() -> None:
    flat = torch.full((1, 10, 3, 3), -2.0)
    torch.testing.assert_close(mean_of_crops(flat, 16, 14), torch.full((1, 16, 16), -2.0).double())
    merged = sum_of_crops(flat, 16, 14)[0]
    assert merged[0, 0].item() == pytest.approx(12)
    assert merged[8, 8].item() == pytest.approx(60)


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(T, 10, h, w\); got \(1, 5, 3, 3\)"):
        sum_of_crops(torch.zeros(1, 5, 3, 3))
    with pytest.raises(ValueError, match="a crop of 9 does not fit into an image of 8"):
        sum_of_crops(torch.zeros(1, 10, 3, 3), 8, 9)
    with pytest.raises(ValueError, match="leave pixels of a 8×8 image uncovered"):
        mean_of_crops(torch.zeros(1, 10, 3, 3), 8, 3)
    with pytest.raises(ValueError, match=r"square image \(3, S, S\); got \(3, 4, 5\)"):
        ten_crops(torch.zeros(3, 4, 5))


@pytest.mark.reference
@pytest.mark.parametrize("photo", [1, 2])
def test_merged_as_the_authors_code_merges(reference_data: Path, photo: int) -> None:
    """Their network's features, their merging run under Octave: equal but for float32."""
    folder = reference_data / "cam-paper"
    expected = np.load(folder / "ten_crop_reference.npz")
    # Their arrays are x, y, unit, crop; ours are crop, unit, y, x.
    features = scipy.io.loadmat(folder / f"data_img{photo}.mat")["activation_lastconv"].transpose(3, 2, 1, 0)
    weight = torch.from_numpy(scipy.io.loadmat(folder / "data_net.mat")["weights_LR"].T[expected[f"top5_img{photo}"]])
    maps = class_activation_map(torch.from_numpy(features.copy()), weight.expand(10, -1, -1).contiguous())
    merged = sum_of_crops(maps.transpose(0, 1))
    assert merged.shape == (5, 256, 256)
    for ours, theirs in zip(merged.numpy(), expected[f"map_img{photo}"].astype(np.float64), strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999999
        assert np.abs(ours - theirs).max() < 1e-5 * theirs.max()
