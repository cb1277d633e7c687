"""Grad-CAM: the paper's map where the head is the paper's, a plain backward anywhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cam_lightning.backbone.alexnet import alexnet
from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam

CLASSES = torch.tensor([[0, 6, 3], [2, 2, 5]])


@pytest.fixture(scope="module")
def network() -> TrunkNetwork:
    torch.manual_seed(0)
    return googlenet_gap(7, width=0.125, batch_norm=True).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 112, generator=torch.Generator().manual_seed(1))


def test_of_average_pooling_and_a_linear_layer_it_is_the_cam_by_h_times_w(
    network: TrunkNetwork, images: Tensor
) -> None:
    with torch.inference_mode():
        output = network(images)
        cam = ClassActivationMap()(network, images, output, CLASSES)
        maps = GradCam()(network, images, output, CLASSES)
    h, w = cam.shape[2:]
    assert h != w
    assert float((maps * (h * w) - cam).abs().max()) <= 1e-6 * float(cam.abs().max())


def by_hand(network: TrunkNetwork, images: Tensor, layer: str) -> Tensor:
    """A forward and a backward for each image and class; a hook keeps what the layer gives, and its gradient."""
    rows = []
    for image, classes in zip(images, CLASSES.tolist(), strict=True):
        row = []
        for label in classes:
            seen: list[Tensor] = []

            def keep(module: object, inputs: object, output: Tensor, seen: list[Tensor] = seen) -> Tensor:
                output.retain_grad()
                seen.append(output)
                return output.clone()

            handle = network.get_submodule(layer).register_forward_hook(keep)
            network(image[None]).logits_BC[0, label].backward()
            handle.remove()
            (activation,) = seen
            assert activation.grad is not None
            alpha = [float(gradient.double().mean()) for gradient in activation.grad[0]]
            row.append(sum(a * unit.detach().double() for a, unit in zip(alpha, activation[0], strict=True)))
        rows.append(torch.stack(row))
    return torch.stack(rows).float()


@pytest.mark.parametrize("layer", ["trunk.conv1.conv", "trunk.inception4a", "trunk.inception4a.branch1.conv"])
def test_a_named_layer_equals_a_plain_backward(network: TrunkNetwork, images: Tensor, layer: str) -> None:
    """`conv`: behind it comes a normalisation, and a ReLU that may work in place."""
    expected = by_hand(network, images, layer)
    with torch.inference_mode():
        maps = GradCam(layer)(network, images, network(images), CLASSES)
    assert expected.min() < 0 < expected.max()
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(GradCam(layer, rectify=True)(network, images, network(images), CLASSES), maps.clamp(min=0))


@pytest.mark.parametrize("layer", [None, "trunk.10"])
def test_a_network_without_a_cam_has_this_map(images: Tensor, layer: str | None) -> None:
    """`trunk.10` is the last convolution; the ReLU behind it, whose map the head reads, overwrites it."""
    torch.manual_seed(0)
    network = alexnet(7).eval()
    images = torch.nn.functional.interpolate(images, (80, 144))
    cam = GradCam(layer)
    cam.check(network, (80, 144))
    with torch.inference_mode():
        maps = cam(network, images, network(images), CLASSES)
    expected = by_hand(network, images, layer or "trunk.11")
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_wrong_layer_is_named_before_any_image_is_read(network: TrunkNetwork) -> None:
    with pytest.raises(ValueError, match=r"no layer trunk\.inception9a: trunk has the layers .*inception4a.*close: "):
        GradCam("trunk.inception9a").check(network, (64, 112))
    with pytest.raises(ValueError, match=r"layer classifier gives no map"):
        GradCam("classifier").check(network, (64, 112))


def test_the_protocol_names_the_layer() -> None:
    assert GradCam("trunk.conv1").protocol() == {"layer": "trunk.conv1", "rectify": False}
    assert GradCam(rectify=True).protocol() == {"layer": None, "rectify": True}
