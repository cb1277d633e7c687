"""Networks filled from torchvision's and timm's state dicts, against torchvision's and timm's own forward.

The state dicts are random: what is tested is that names, layers, input statistics and heads correspond.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from cam_lightning.backbone.alexnet import alexnet
from cam_lightning.backbone.alexnet_gap import alexnet_gap
from cam_lightning.backbone.alexnet_plus_gap import alexnet_plus_gap
from cam_lightning.backbone.googlenet import googlenet
from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.inception_v3_gap import inception_v3_gap
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.resnet50_gap import resnet50_gap
from cam_lightning.backbone.squeezenet_gap import squeezenet_gap
from cam_lightning.backbone.vgg16 import vgg16
from cam_lightning.backbone.vgg16_gap import vgg16_gap
from cam_lightning.backbone.weights import load_weights, weights_num_classes

CLASSES = 7
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def _published(name: str, **options: Any) -> nn.Module:
    """A model of torchvision as somebody might have trained it: no statistic is 0 or 1."""
    torch.manual_seed(0)
    with torch.device("meta"):  # torchvision's own initialisation takes longer than all the rest
        model = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **options).eval()
    model.to_empty(device="cpu")
    for key, value in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            value.zero_()
        elif value.ndim > 1:
            value.uniform_(-1, 1).mul_((6 / value[0].numel()) ** 0.5)
        elif key.endswith(("running_var", "weight")):
            value.uniform_(0.5, 1.5)
        else:
            value.uniform_(-0.1, 0.1)
    return model


def _fill(network: TrunkNetwork, model: nn.Module, new_head: bool = True) -> TrunkNetwork:
    network.published = network.published._replace(imagenet=model.state_dict)
    load_weights(network, "imagenet", new_head)
    return network.eval()


def _normalized(pixels_B3HW: Tensor, network: TrunkNetwork) -> Tensor:
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in network.normalization)
    return (pixels_B3HW - mean) / std


@pytest.mark.parametrize(
    ("build", "name", "options", "sizes"),
    [
        # `transform_input` is what torchvision switches on with its weights: it then takes images with
        # ImageNet's statistics and turns them into pixels in −1..1 itself.
        (googlenet, "googlenet", {"transform_input": True, "init_weights": False}, [(97, 64)]),
        (partial(resnet50_gap, stride=32), "resnet50", {}, [(64, 33)]),
        (squeezenet_gap, "squeezenet1_0", {}, [(64, 97)]),
        (partial(squeezenet_gap, variant="squeezenet1_1"), "squeezenet1_1", {}, [(64, 97)]),
        (alexnet, "alexnet", {}, [(224, 224), (100, 131)]),
        (vgg16, "vgg16", {}, [(64, 96)]),
    ],
)
def test_classifies_as_torchvision_does(
    build: Callable[..., TrunkNetwork], name: str, options: dict[str, Any], sizes: list[tuple[int, int]]
) -> None:
    model = _published(name, **options)
    with torch.device("meta"):
        network = build(CLASSES)
    network = _fill(network.to_empty(device="cpu"), model, new_head=False)
    assert network.new_layers == ()
    assert weights_num_classes(network, "imagenet") == CLASSES
    for size in sizes:
        pixels = torch.rand(2, 3, *size)
        with torch.no_grad():
            expected = model((pixels - IMAGENET_MEAN) / IMAGENET_STD)
            logits = network(_normalized(pixels, network)).logits_BC
        scale = float(expected.abs().max())
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * scale)


def test_googlenet_gap_feeds_its_first_convolution_as_torchvision_does() -> None:
    """Pitfall: torchvision's weights were trained behind an input transform that is easily lost."""
    model = torchvision.models.googlenet(
        weights=None, num_classes=CLASSES, aux_logits=False, transform_input=True, init_weights=False
    ).eval()
    network = googlenet_gap(CLASSES).eval()
    received: list[Tensor] = []
    for first in (model.conv1, network.trunk.conv1):
        first.register_forward_pre_hook(lambda _, args: received.append(args[0]))
    pixels = torch.rand(2, 3, 40, 56)
    with torch.no_grad():
        model((pixels - IMAGENET_MEAN) / IMAGENET_STD)
        network(_normalized(pixels, network))
    torch.testing.assert_close(received[1], received[0], rtol=1e-5, atol=1e-6)
    assert received[0].min() >= -1
    assert received[0].max() <= 1


@pytest.mark.parametrize(
    ("build", "name", "last", "new_layers"),
    [
        (googlenet_gap, "googlenet", "inception4e", ("trunk.cam_conv", "classifier")),
        (inception_v3_gap, "inception_v3", "Mixed_6e", ("trunk.cam_conv", "classifier")),
        (vgg16_gap, "vgg16", "features.29", ("trunk.cam_conv", "classifier")),
        (alexnet_gap, "alexnet", "features.11", ("trunk.cam_conv", "classifier")),
        (alexnet_plus_gap, "alexnet", "features.11", ("trunk.conv6", "trunk.conv7", "classifier")),
    ],
)
def test_gap_networks_keep_torchvisions_layers_up_to_the_cut(
    build: Callable[..., TrunkNetwork], name: str, last: str, new_layers: tuple[str, ...]
) -> None:
    """The cut network's activations equal torchvision's at that layer; only what the paper adds is new."""
    transformed = name in ("googlenet", "inception_v3")
    model = _published(name, **({"transform_input": True, "init_weights": False} if transformed else {}))
    network = _fill(build(CLASSES), model)
    assert network.new_layers == new_layers
    activations: list[Tensor] = []
    model.get_submodule(last).register_forward_hook(lambda *args: activations.append(args[2]))
    after = last.removeprefix("features.")
    network.trunk.get_submodule(after).register_forward_hook(lambda *args: activations.append(args[2]))
    pixels = torch.rand(1, 3, 107, 96)
    with torch.no_grad():
        model((pixels - IMAGENET_MEAN) / IMAGENET_STD)
        network(_normalized(pixels, network))
    expected, ours = activations
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_the_cut_off_head_never_fills_ours() -> None:
    """torchvision's GoogLeNet also ends in a linear layer of 1024 units: those of another layer."""
    network = googlenet_gap(CLASSES)
    before = network.classifier.weight.clone()
    _fill(network, _published("googlenet", transform_input=True, init_weights=False))
    assert network.classifier.weight.equal(before)
    with pytest.raises(ValueError, match="holds no classifier"):
        weights_num_classes(network, "imagenet")


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (alexnet, "AlexNet_Weights"),
        (vgg16, "VGG16_Weights"),
        (googlenet, "GoogLeNet_Weights"),
        (squeezenet_gap, "SqueezeNet1_0_Weights"),
        (resnet50_gap, "ResNet50_Weights"),
    ],
)
def test_parameters_are_as_many_as_published(build: Callable[..., TrunkNetwork], name: str) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build(1000).parameters())
    assert count == getattr(torchvision.models, name).IMAGENET1K_V1.meta["num_params"]
