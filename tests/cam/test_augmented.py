"""Test-time augmentation: the mean of maps of changed images, each turned back."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.cam.augmented import AugmentedMap
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam

CLASSES = torch.tensor([[0, 6, 3], [2, 2, 5]])


def test_it_is_the_mean_of_the_maps_turned_back() -> None:
    torch.manual_seed(0)
    network = googlenet_gap(7, width=0.125, batch_norm=True).eval()
    images = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))
    cam, grad_cam = ClassActivationMap(), GradCam()
    with torch.inference_mode():
        output = network(images)
        plain = cam(network, images, output, CLASSES)
        darker = cam(network, images * 0.5, network(images * 0.5), CLASSES)
        mirrored = cam(network, images.flip(3), network(images.flip(3)), CLASSES).flip(3)
        both = cam(network, images.flip(3) * 0.5, network(images.flip(3) * 0.5), CLASSES).flip(3)
        found = AugmentedMap(cam, flip=True, factors=[1, 0.5])(network, images, output, CLASSES)
        torch.testing.assert_close(found, (plain + darker + mirrored + both) / 4)
        # The unit stays: with average pooling the mean plus the bias is the mean of the logits.
        logits = (
            sum(
                network(each).logits_BC for each in (images, images * 0.5, images.flip(3), images.flip(3) * 0.5)
            ).gather(1, CLASSES)
            / 4
        )  # type: ignore[union-attr]
        torch.testing.assert_close(found.mean((2, 3)) + network.classifier.bias[CLASSES], logits)
        alone = AugmentedMap(grad_cam, flip=False, factors=[1])(network, images, output, CLASSES)
        torch.testing.assert_close(alone, grad_cam(network, images, output, CLASSES))


def test_the_image_itself_costs_no_forward() -> None:
    network = googlenet_gap(7, width=0.125).eval()
    images = torch.zeros(1, 3, 32, 48)
    seen: list[float] = []
    with torch.no_grad():
        output = network(images)
        handle = network.register_forward_hook(lambda *each: seen.append(0))
        AugmentedMap(ClassActivationMap())(network, images, output, CLASSES[:1])
        handle.remove()
    assert len(seen) == 5, "of six copies"


def test_its_values_are_of_the_map_s_own_unit() -> None:
    network = googlenet_gap(7, width=0.125)
    cam = ClassActivationMap()
    assert AugmentedMap(cam).unit(network) == cam.unit(network) != ""
    assert AugmentedMap(GradCam()).unit(network) == "", "that does not say"


def test_options_are_told_and_checked() -> None:
    assert AugmentedMap(GradCam()).protocol() == {
        "of": "GradCam",
        "of/layer": None,
        "of/rectify": False,
        "flip": True,
        "factors": [0.9, 1.0, 1.1],
    }
    assert AugmentedMap(ClassActivationMap(required=False)).required is False
    with pytest.raises(ValueError, match=r"cam\.factors names no factor"):
        AugmentedMap(GradCam(), factors=[])
