from __future__ import annotations

import torch

from cam_lightning.functional.fraction import as_fractions


def test_a_fraction_is_of_its_own_side() -> None:
    """40 wide and 20 high: swapped sides would give other numbers."""
    boxes_N4 = torch.tensor([[10.0, 5, 30, 20], [0, 0, 40, 20]])
    assert as_fractions(boxes_N4, height=20, width=40).tolist() == [[0.25, 0.25, 0.75, 1], [0, 0, 1, 1]]


def test_what_lies_outside_is_cut_off() -> None:
    boxes_N4 = torch.tensor([[-4.0, -1, 44, 21]])
    assert as_fractions(boxes_N4, height=20, width=40).tolist() == [[0, 0, 1, 1]]


def test_no_box_stays_no_box() -> None:
    assert as_fractions(torch.zeros(0, 4), height=20, width=40).shape == (0, 4)
