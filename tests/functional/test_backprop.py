"""Backpropagation's map, by hand."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.functional.backprop import backprop


def test_the_largest_absolute_value_of_the_colours() -> None:
    red, green, blue = [[1.0, -5.0, 0.0]], [[-2.0, 4.0, 0.0]], [[0.5, 3.0, -0.25]]
    map_BTHW = backprop(torch.tensor([[[red, green, blue], [blue, red, red]]]))
    assert map_BTHW.tolist() == [[[[2.0, 5.0, 0.25]], [[1.0, 5.0, 0.25]]]]


def test_gradients_that_are_not_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, T, 3, H, W\); got \(1, 2, 4, 5, 6\)"):
        backprop(torch.zeros(1, 2, 4, 5, 6))
