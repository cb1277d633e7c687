"""The layers that the paper adds, and Caffe's initialisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from cam_lightning.backbone.alexnet import alexnet
from cam_lightning.backbone.layers import LocalResponseNorm, cam_conv, cam_fc, class_conv
from cam_lightning.backbone.vgg16 import vgg16


def test_local_response_norm_by_a_plain_loop() -> None:
    x = 30 * torch.randn(2, 7, 2, 3)
    expected = torch.empty_like(x)
    for k in range(7):
        neighbours = x[:, max(0, k - 2) : k + 3]
        expected[:, k] = x[:, k] / (1 + 1e-4 / 5 * (neighbours**2).sum(1)) ** 0.75
    torch.testing.assert_close(LocalResponseNorm()(x), expected)
    torch.testing.assert_close(LocalResponseNorm()(x), nn.LocalResponseNorm(5)(x))
    x_last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(LocalResponseNorm()(x_last), expected)


def test_cam_conv_is_the_released_one() -> None:
    torch.manual_seed(0)
    layer = cam_conv(832, bias=1.0)
    assert (layer.kernel_size, layer.stride, layer.padding, layer.groups) == ((3, 3), (1, 1), (1, 1), 2)
    assert layer.weight.shape == (1024, 416, 3, 3)
    assert layer.weight.mean().item() == pytest.approx(0, abs=1e-4)
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert layer.bias.eq(1).all()


def test_cam_fc_starts_as_caffes_xavier() -> None:
    """Uniform with variance 1 / fan-in, so within ±√(3 / 1024), whatever the number of classes."""
    torch.manual_seed(0)
    layer = cam_fc(1024, 7)
    bound = (3 / 1024) ** 0.5
    assert 0.99 * bound < layer.weight.abs().max().item() <= bound
    assert layer.weight.std().item() == pytest.approx(1024**-0.5, rel=0.05)
    assert layer.bias.eq(0).all()
    assert cam_fc(1024, 7, std=0.01).weight.std().item() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("build", [cam_fc, class_conv])
def test_a_network_needs_a_class(build: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="at least one class"):
        build(4, 0)


def _kinds(classifier: nn.Module) -> list[str]:
    layers = (each for each in classifier.modules() if not next(each.children(), None))
    return [type(each).__name__ for each in layers if not isinstance(each, nn.Identity)]


@pytest.mark.parametrize("build", [alexnet, vgg16])
def test_dropout_lies_where_each_published_network_has_it(build: Any) -> None:
    """Caffe's (drop6 and drop7 behind relu6 and relu7) and torchvision's own, which differ for AlexNet."""
    of_caffe = ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    with torch.device("meta"):
        variants = ["caffe", "bvlc", "torchvision"] if build is alexnet else ["caffe", "torchvision"]
        networks = {variant: build(3, variant=variant) for variant in variants}
        theirs = getattr(torchvision.models, build.__name__)()
    for variant, network in networks.items():
        assert _kinds(network.classifier) == (of_caffe if variant != "torchvision" else _kinds(theirs.classifier))
    names = [[name for name in network.state_dict() if "classifier" in name] for network in networks.values()]
    assert all(each == names[0] for each in names), "a checkpoint of before still fits"
    assert names[0] == [name for name in theirs.state_dict() if "classifier" in name]
