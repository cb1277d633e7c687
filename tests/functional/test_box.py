"""Conversions into the one convention, and the boxes that see nothing; never on squares alone."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.functional.box import as_fractions, centre_box, from_inclusive_corners, from_xywh, rescale


def test_inclusive_corners() -> None:
    """One pixel is one wide, and areas are those of the devkit, with its + 1."""
    boxes = from_inclusive_corners(torch.tensor([[3, 5, 3, 5], [0, 0, 63, 47]]))
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [[3, 5, 4, 6], [0, 0, 64, 48]]
    for x0, y0, x1, y1 in torch.randint(0, 50, (30, 4), generator=torch.Generator().manual_seed(0)).tolist():
        x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        pixels = sum(1 for x in range(60) for y in range(60) if x0 <= x <= x1 and y0 <= y <= y1)
        a, b, c, d = from_inclusive_corners(torch.tensor([x0, y0, x1, y1])).tolist()
        assert (c - a) * (d - b) == pixels


def test_bytes_do_not_wrap_around() -> None:
    assert from_inclusive_corners(torch.tensor([0, 0, 255, 255], dtype=torch.uint8)).tolist() == [
        0,
        0,
        256,
        256,
    ]
    assert from_xywh(torch.tensor([200, 1, 100, 255], dtype=torch.uint8)).tolist() == [200, 1, 300, 256]


def test_xywh() -> None:
    """The first image of CUB-200-2011: x 60, y 27, width 325, height 304."""
    boxes = from_xywh(torch.tensor([[60.0, 27.0, 325.0, 304.0]]))
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [[60, 27, 385, 331]]


def test_centre_box_by_hand() -> None:
    """Sizes are height, width; boxes x before y."""
    boxes = centre_box(torch.tensor([[40, 100], [8, 4]]), 0.75)
    assert boxes.tolist() == [[12.5, 5, 87.5, 35], [0.5, 1, 3.5, 7]]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.75, 0.9, 1.0])
def test_centre_box_has_its_share_of_each_side_and_is_centred(share: float) -> None:
    sizes = torch.randint(1, 600, (40, 2), generator=torch.Generator().manual_seed(0))
    for (height, width), (x0, y0, x1, y1) in zip(sizes.tolist(), centre_box(sizes, share).tolist(), strict=True):
        assert x1 - x0 == pytest.approx(share * width, rel=1e-5)
        assert y1 - y0 == pytest.approx(share * height, rel=1e-5)
        assert (x0 + x1, y0 + y1) == pytest.approx((width, height), rel=1e-6)


def test_the_whole_image_is_exact() -> None:
    sizes = torch.randint(1, 5000, (100, 2), generator=torch.Generator().manual_seed(0))
    assert centre_box(sizes, 1.0).tolist() == [[0, 0, width, height] for height, width in sizes.tolist()]


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
def test_a_share_lies_in_0_1(share: float) -> None:
    with pytest.raises(ValueError, match="share of each side"):
        centre_box(torch.tensor([[4, 4]]), share)


def test_rescale_by_hand() -> None:
    """From 20 high and 50 wide to 40 high and 25 wide: y doubles, x halves."""
    boxes = rescale(
        torch.tensor([[[0.0, 10, 50, 20], [4, 0, 6, 1]]]), torch.tensor([[20, 50]]), torch.tensor([[40, 25]])
    )
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [[[0, 20, 25, 40], [2, 0, 3, 2]]]


def test_rescale_takes_the_whole_image_to_the_whole_image_and_each_image_by_its_own_sizes() -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randint(1, 3000, (200, 2), generator=generator) for _ in range(2))
    whole = centre_box(before, 1.0)[:, None]
    assert torch.equal(rescale(whole, before, after), centre_box(after, 1.0)[:, None])


def test_a_fraction_is_of_its_own_side() -> None:
    """40 wide and 20 high: swapped sides would give other numbers."""
    boxes_N4 = torch.tensor([[10.0, 5, 30, 20], [0, 0, 40, 20]])
    assert as_fractions(boxes_N4, height=20, width=40).tolist() == [[0.25, 0.25, 0.75, 1], [0, 0, 1, 1]]


def test_what_lies_outside_is_cut_off() -> None:
    boxes_N4 = torch.tensor([[-4.0, -1, 44, 21]])
    assert as_fractions(boxes_N4, height=20, width=40).tolist() == [[0, 0, 1, 1]]


def test_no_box_stays_no_box() -> None:
    assert as_fractions(torch.zeros(0, 4), height=20, width=40).shape == (0, 4)
