"""Backpropagation to the image, against one plain backward for each image and class."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.squeezenet_gap import squeezenet_gap
from cam_lightning.cam.backprop import Backprop

CLASSES = torch.tensor([[0, 6, 3], [2, 2, 5]])


def _squeezenet() -> TrunkNetwork:
    network = squeezenet_gap(7)
    # Above zero, where its class maps have a gradient.
    torch.nn.init.constant_(network.class_conv.bias, 1.0)  # type: ignore[arg-type]
    return network


def _googlenet() -> TrunkNetwork:
    return googlenet_gap(7, width=0.125, batch_norm=True)


@pytest.mark.parametrize("build", [_squeezenet, _googlenet])
def test_it_equals_a_plain_loop(build: Callable[[], TrunkNetwork]) -> None:
    torch.manual_seed(0)
    network = build().eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        output = network(images)
        maps = Backprop()(network, images, output, CLASSES)
    assert maps.shape == (2, 3, 64, 96)
    for b in range(2):
        for t, label in enumerate(CLASSES[b].tolist()):
            image = images[b : b + 1].clone().requires_grad_()
            network(image).logits_BC[0, label].backward()
            assert image.grad is not None
            red, green, blue = image.grad[0].abs()
            expected = torch.maximum(torch.maximum(red, green), blue)
            assert expected.max() > 0
            torch.testing.assert_close(maps[b, t], expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
