"""Integrated gradients: complete, and exact where the network is linear on the way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toy_network import ToyGap

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.cam.integrated_gradients import IntegratedGradients
from cam_lightning.functional.integrated_gradients import integrated_gradients

CLASSES = torch.tensor([[0, 6, 3], [2, 2, 5]])


@pytest.mark.parametrize("baseline", ["black", "mean"])
def test_a_map_adds_up_to_the_difference_of_scores(baseline: str) -> None:
    torch.manual_seed(0)
    network = googlenet_gap(7, width=0.125, batch_norm=True).eval()
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    # Black is −1 in every colour where pixels lie in −1..1.
    empty = torch.full_like(images, -1.0 if baseline == "black" else 0.0)
    with torch.inference_mode():
        output = network(images)
        maps = IntegratedGradients(baseline, steps=64)(network, images, output, CLASSES)
        expected = (output.logits_BC - network(empty).logits_BC).gather(1, CLASSES)
    assert maps.shape == (2, 3, 32, 48)
    assert maps.min() < 0
    torch.testing.assert_close(maps.sum((2, 3)), expected, rtol=0, atol=0.02 * float(expected.abs().max()))


def test_of_a_linear_network_one_step_is_exact() -> None:
    network = ToyGap(nn.Conv2d(3, 4, 3), 4, 7)
    images = torch.randn(2, 3, 8, 12)
    with torch.no_grad():
        one, many = (IntegratedGradients(steps=n)(network, images, network(images), CLASSES) for n in (1, 7))
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-6)


def test_gradients_are_asked_for_in_the_middle_of_each_step() -> None:
    """Of x² on the way from 1 to 3: 2x at 1.5 and 2.5."""
    asked: list[float] = []

    def gradient(x: torch.Tensor) -> torch.Tensor:
        asked.append(float(x[0, 0, 0, 0]))
        return 2 * x[:, None]

    found = integrated_gradients(torch.full((1, 3, 1, 1), 3.0), torch.ones(1, 3, 1, 1), gradient, 2)
    assert asked == [1.5, 2.5]
    assert found.tolist() == [[[[3 * (9.0 - 1.0)]]]]


def test_what_there_is_not_is_said() -> None:
    with pytest.raises(ValueError, match="black, mean; got 'white'"):
        IntegratedGradients("white")
    with pytest.raises(ValueError, match=r"cam\.steps .* got 0"):
        IntegratedGradients(steps=0)
