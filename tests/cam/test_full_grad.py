"""FullGrad: its parts add up to the score, and its map to what the released code's steps give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.timm_gap import timm_gap
from cam_lightning.backbone.vgg16_gap import vgg16_gap
from cam_lightning.cam.full_grad import FullGrad
from cam_lightning.functional.differentiation import map_per_class
from cam_lightning.functional.full_grad import full_grad, layer_biases


def googlenet() -> TrunkNetwork:
    return googlenet_gap(7, width=0.125, batch_norm=True)


def regnet() -> TrunkNetwork:
    """Its normalisations have activations within them."""
    pytest.importorskip("timm")
    return timm_gap(7, "regnetx_002")


def with_biases(network: TrunkNetwork) -> TrunkNetwork:
    """In eval mode, with statistics of a kind that training leaves: at the start they add nothing."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


@pytest.mark.parametrize("build", [googlenet, regnet, pytest.param(lambda: vgg16_gap(7), id="vgg16_gap")])
def test_what_image_and_biases_add_is_the_logit(build: object) -> None:
    """Srinivas and Fleuret 2019, proposition 1: f(x) = ∇f·x + Σ b·∂f/∂b, in networks linear in parts."""
    torch.manual_seed(0)
    network = with_biases(build())  # type: ignore[operator]
    images = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([[0, 6], [2, 5]])
    biases = layer_biases(network)
    assert len(biases) > 10

    def added(image_gradient: Tensor, gradients: list[Tensor]) -> Tensor:
        total = (image_gradient * images).double().sum((1, 2, 3))
        for bias, gradient in zip(biases.values(), gradients, strict=True):
            assert gradient.shape[1] == len(bias)
            total = total + (bias[:, None, None] * gradient).double().sum((1, 2, 3))
        return total

    with torch.inference_mode():
        total = map_per_class(network, images, classes, list(biases), added)
        logits = network(images).logits_BC.gather(1, classes)
    classifier_bias = network.classifier.bias.detach()[classes]  # type: ignore[union-attr,index]
    assert logits.abs().min() > 1e-4
    torch.testing.assert_close(total.float() + classifier_bias, logits, rtol=1e-3, atol=1e-4)


def test_the_map_equals_plain_steps() -> None:
    torch.manual_seed(0)
    network = with_biases(googlenet())
    images = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([[4], [1]])
    biases = layer_biases(network)
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        def hook(module: object, given: object, gave: Tensor) -> Tensor:
            gave.retain_grad()
            kept[name] = gave
            return gave.clone()

        return hook

    with torch.no_grad():
        output = network(images)
    maps = FullGrad()(network, images, output, classes)
    handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in biases]  # type: ignore[arg-type]
    assert maps.shape == (2, 1, 48, 80)
    for b in range(2):
        image = images[b : b + 1].clone().requires_grad_()
        network(image).logits_BC[0, classes[b, 0]].backward()
        assert image.grad is not None
        expected = torch.zeros(48, 80, dtype=torch.float64)
        parts = [image.grad * image.detach()]
        for name, bias in biases.items():
            gradient = kept[name].grad
            assert gradient is not None
            parts.append(gradient * bias[:, None, None])
        for part in parts:
            size = part.detach().double().abs()
            size = (size - size.min()) / (size.max() - size.min())
            for channel in size[0]:
                expected += torch.nn.functional.interpolate(channel[None, None], (48, 80), mode="bilinear")[0, 0]
        torch.testing.assert_close(maps[b, 0].double(), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    for handle in handles:
        handle.remove()


def test_a_part_without_a_say_adds_nothing() -> None:
    part = torch.rand(1, 2, 3, 4)
    assert torch.equal(full_grad([part, torch.zeros(1, 1, 1, 1)], (6, 8)), full_grad([part], (6, 8)))
