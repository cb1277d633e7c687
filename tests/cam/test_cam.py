"""The paper's map from a network: the identity with its logits, and nothing touched on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import toy_network
from torch import Tensor, nn

from cam_lightning.backbone.network import IMAGENET, ClassMapNetwork, GapNetwork, PublishedWeights
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import NoClassMapError


class ToyGap(toy_network.ToyGap):
    """A convolution, average pooling, a linear layer."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 12, 5, stride=3), nn.ReLU()), 12, 7)


def toy_nin() -> ClassMapNetwork:
    """A unit is a class: features before the ReLU, logits are their mean after it."""
    return ClassMapNetwork(
        nn.Conv2d(3, 12, 5, stride=3),
        nn.Conv2d(12, 7, 1),
        normalization=ToyGap.normalization,
        min_size=5,
        published=PublishedWeights({}),
    )


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 20, 41, generator=torch.Generator().manual_seed(0))


CLASSES = torch.tensor([[0, 3, 6], [6, 5, 4], [2, 2, 1], [1, 0, 3]])
"""Others for every image, and a class that is asked for twice."""


def test_mean_of_the_map_plus_bias_is_the_logit(images: Tensor) -> None:
    torch.manual_seed(0)
    network = ToyGap()
    with torch.no_grad():
        output = network(images)
    maps = ClassActivationMap()(network, images, output, CLASSES)
    assert maps.shape == (4, 3, 6, 13)
    assert isinstance(network.classifier, nn.Linear)
    for b, row in enumerate(CLASSES.tolist()):
        for t, c in enumerate(row):
            mean = sum(maps[b, t].double().flatten().tolist()) / (6 * 13)
            logit = float(output.logits_BC[b, c])
            assert mean + network.classifier.bias[c].item() == pytest.approx(logit, abs=1e-6)


def test_where_a_unit_is_a_class_the_map_is_the_unit_before_its_relu(images: Tensor) -> None:
    torch.manual_seed(0)
    network = toy_nin()
    output = network(images)
    maps = ClassActivationMap()(network, images, output, CLASSES)
    assert (maps < 0).any()
    for b, row in enumerate(CLASSES.tolist()):
        for t, c in enumerate(row):
            assert torch.equal(maps[b, t], output.features_BKhw[b, c])
            assert maps[b, t].relu().mean().item() == pytest.approx(output.logits_BC[b, c].item(), abs=1e-6)


def test_the_map_is_float32_under_mixed_precision(images: Tensor) -> None:
    """In bf16 the cells that hold the maximum would tie, and boxes move."""
    torch.manual_seed(0)
    network = ToyGap()
    output = network(images)
    expected = ClassActivationMap()(network, images, output, CLASSES)
    with torch.autocast("cpu", torch.bfloat16):
        maps = ClassActivationMap()(network, images, output, CLASSES)
    assert maps.dtype == torch.float32
    assert torch.equal(maps, expected)


@pytest.mark.parametrize("kind", [ToyGap, toy_nin])
def test_it_leaves_the_network_and_the_output_as_they_are(images: Tensor, kind: Callable[[], Any]) -> None:
    network = kind()
    network.trunk.eval()
    state, modes = copy.deepcopy(network.state_dict()), [module.training for module in network.modules()]
    output = network(images)
    features = output.features_BKhw.clone()
    maps = ClassActivationMap()(network, images, output, CLASSES)
    assert not maps.requires_grad
    maps.mul_(0)
    assert torch.equal(output.features_BKhw, features), "the maps have storage of their own"
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    output.logits_BC.sum().backward()


def test_a_network_without_a_pooled_linear_head_is_refused_by_name() -> None:
    network = ToyGap()
    ClassActivationMap().check(network, (224, 224))
    network.has_map = False
    with pytest.raises(NoClassMapError, match=r"ToyGap has no class activation map.*_gap"):
        ClassActivationMap().check(network, (224, 224))
    assert all(module.training for module in network.modules()), "it was looked at, and not changed"


def test_it_says_in_which_unit_its_maps_are() -> None:
    """A network's own word; of one of someone's own that has none, nothing."""
    averaged = GapNetwork(
        nn.Conv2d(3, 4, 3), nn.Linear(4, 2), normalization=IMAGENET, min_size=3, published=PublishedWeights({})
    )
    x = torch.randn(2, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    cam = ClassActivationMap()
    assert cam.unit(averaged) == "logit per cell (mean over the cells + bias = logit)"
    with torch.no_grad():
        output = averaged.eval()(x)
        map_BThw = cam(averaged, x, output, torch.tensor([[0, 1]] * 2))
    torch.testing.assert_close(map_BThw.mean((2, 3)) + averaged.classifier.bias, output.logits_BC)
    maximal = GapNetwork(
        nn.Conv2d(3, 4, 3),
        nn.Linear(4, 2),
        normalization=IMAGENET,
        min_size=3,
        published=PublishedWeights({}),
        pool="max",
    )
    assert cam.unit(maximal) == "weighted activation per cell"
    assert cam.unit(toy_network.ToyGap(nn.Identity(), 3, 2)) == ""
