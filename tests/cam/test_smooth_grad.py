"""Averages over noisy images: what the noise is, and that it belongs to the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.cam.backprop import Backprop
from cam_lightning.cam.grad_cam_plus_plus import GradCamPlusPlus
from cam_lightning.cam.smooth_grad import SmoothGrad
from cam_lightning.cam.smooth_grad_cam_plus_plus import SmoothGradCamPlusPlus
from cam_lightning.functional.image_noise import image_seed, noisy_images

CLASSES = torch.tensor([[0, 6, 3], [2, 2, 5]])


@pytest.fixture(scope="module")
def network() -> TrunkNetwork:
    torch.manual_seed(0)
    return googlenet_gap(7, width=0.125, batch_norm=True).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", [None, "trunk.inception4a"])
def test_without_noise_they_are_what_they_average(network: TrunkNetwork, images: Tensor, layer: str | None) -> None:
    with torch.inference_mode():
        output = network(images)
        smooth = SmoothGradCamPlusPlus(layer, noise=0.0, samples=2)(network, images, output, CLASSES)
        plain = GradCamPlusPlus(layer)(network, images, output, CLASSES)
        torch.testing.assert_close(smooth, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))
        smooth = SmoothGrad(noise=0.0, samples=2)(network, images, output, CLASSES)
        plain = Backprop()(network, images, output, CLASSES)
        torch.testing.assert_close(smooth, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))


def test_smooth_grad_equals_a_plain_loop(network: TrunkNetwork, images: Tensor) -> None:
    with torch.inference_mode():
        maps = SmoothGrad(samples=3)(network, images, network(images), CLASSES)
    total = torch.zeros(3, 48, 80)
    for noisy in noisy_images(images, 0.15, 3):
        image = noisy[1:].clone().requires_grad_()
        network(image).logits_BC[0, 5].backward()
        assert image.grad is not None
        total += image.grad[0]
    expected = (total / 3).abs().amax(0)
    torch.testing.assert_close(maps[1, 2], expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_noise_is_a_share_of_each_image_s_range_and_its_own() -> None:
    images = (
        torch.rand(3, 3, 40, 60, generator=torch.Generator().manual_seed(1))
        * torch.tensor([1, 5, 20])[:, None, None, None].float()
    )
    first, second = noisy_images(images, 0.1, 2)
    for b, span in enumerate((1, 5, 20)):
        noise = first[b] - images[b]
        assert float(noise.std()) == pytest.approx(0.1 * span, rel=0.05)
        assert float(noise.mean()) == pytest.approx(0, abs=0.02 * span)
        assert not torch.equal(noise, second[b] - images[b])
        alone = list(noisy_images(images[b : b + 1].contiguous(memory_format=torch.channels_last), 0.1, 2))
        assert torch.equal(alone[0][0], first[b])
        assert torch.equal(alone[1][0], second[b])


def test_a_seed_is_made_of_the_pixels() -> None:
    image = torch.rand(3, 4, 5)
    changed = image.clone()
    changed[2, 3, 4] += 1e-4
    assert image_seed(image) == image_seed(image.clone()) != image_seed(changed)
    assert image_seed(image, 1) != image_seed(image)


@pytest.mark.parametrize("kind", [SmoothGrad, SmoothGradCamPlusPlus])
def test_what_cannot_be_averaged_is_said(kind: type[SmoothGrad] | type[SmoothGradCamPlusPlus]) -> None:
    with pytest.raises(ValueError, match=r"cam\.samples .* got 0"):
        kind(samples=0)
    with pytest.raises(ValueError, match=r"cam\.noise .* got -1"):
        kind(noise=-1)
