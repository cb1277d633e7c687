"""Gradients against finite differences and plain backward passes; and a network that is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import IMAGENET, GapNetwork, PublishedWeights
from cam_lightning.contracts import ClassifierOutput
from cam_lightning.functional.differentiation import (
    LayerGradients,
    differentiable,
    input_gradients,
    layer_activations,
    layer_gradients,
    layer_named,
)

CLASSES = torch.tensor([[0, 4], [3, 3], [2, 1]])
"""Others for every image, and one that is asked for twice."""


def toy(**layers: nn.Module) -> GapNetwork:
    """Two convolutions with in-place layers behind them, and what a test adds behind those."""
    torch.manual_seed(0)
    trunk = nn.Sequential()
    for name, layer in {
        "conv1": nn.Conv2d(3, 6, 3, stride=2),
        "norm": nn.BatchNorm2d(6),
        "act1": nn.ELU(inplace=True),
        "conv2": nn.Conv2d(6, 8, 3),
        "act2": nn.ELU(inplace=True),
        **layers,
    }.items():
        trunk.add_module(name, layer)
    network = GapNetwork(
        trunk, nn.Linear(8, 5), normalization=IMAGENET, min_size=1, published=PublishedWeights({}), dropout=0.5
    )
    # In training these would change numbers and statistics; half of the network is, all the same.
    network.train()
    network.trunk.get_submodule("conv2").eval()
    network.classifier.weight.requires_grad_(False)
    return network


@pytest.fixture
def network() -> GapNetwork:
    return toy()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 11, 16, generator=torch.Generator().manual_seed(1))


def features_of(network: GapNetwork, images: Tensor) -> Tensor:
    was_training = {module: module.training for module in network.modules()}
    with torch.no_grad():
        features = network.eval().forward_features(images)
    for module, mode in was_training.items():
        module.training = mode
    return features


def state(network: GapNetwork) -> Any:
    """All that a map might change of a network."""
    return (
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [parameter.grad for parameter in network.parameters()],
        [(len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
         for module in network.modules()],
        {name: value.tolist() for name, value in network.state_dict().items()},
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )  # fmt: skip


def behind(network: GapNetwork, name: str, activations: Tensor) -> Tensor:
    """The logits from a layer's activations on, layer by layer."""
    names = [each for each, _ in network.trunk.named_children()]
    for each in names[names.index(name) + 1 :]:
        activations = network.trunk.get_submodule(each)(activations.clone())
    return network.classifier(activations.mean((2, 3)))


def by_hand(network: GapNetwork, images: Tensor, name: str) -> LayerGradients:
    """One image and one class at a time, by a plain backward from logits to a layer that starts the graph."""
    network.eval()
    names = [each for each, _ in network.trunk.named_children()]
    features, gradients, scores = [], [], []
    for image, classes in zip(images, CLASSES.tolist(), strict=True):
        with torch.no_grad():
            activations = image[None]
            for each in names[: names.index(name) + 1]:
                activations = network.trunk.get_submodule(each)(activations.clone())
        features.append(activations[0])
        for label in classes:
            leaf = activations.clone().requires_grad_()
            score = behind(network, name, leaf)[0, label]
            score.backward()
            gradients.append(leaf.grad[0])
            scores.append(score.detach())
        for parameter in network.parameters():
            parameter.grad = None
    B, T = CLASSES.shape
    return LayerGradients(
        torch.stack(features), torch.stack(gradients).unflatten(0, (B, T)), torch.stack(scores).reshape(B, T)
    )


def assert_same(ours: LayerGradients, expected: LayerGradients) -> None:
    for name, one, other in zip(LayerGradients._fields, ours, expected, strict=True):
        assert not one.requires_grad
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_the_images_gradient_is_the_slope(network: GapNetwork, images: Tensor) -> None:
    """By central differences in float64: a step in one pixel, and what it does to the logit."""
    gradient = input_gradients(network, images, CLASSES)
    assert gradient.shape == (3, 2, 3, 11, 16)
    network.eval().double()
    images = images.double()
    for b, colour, y, x in [(0, 0, 0, 0), (0, 2, 4, 13), (1, 1, 8, 3), (2, 2, 6, 10)]:
        step = torch.zeros_like(images)
        step[b, colour, y, x] = 1e-5
        with torch.no_grad():
            slope_BC = (_logits64(network, images + step) - _logits64(network, images - step)) / 2e-5
        for t, label in enumerate(CLASSES[b].tolist()):
            assert gradient[b, t, colour, y, x].item() == pytest.approx(slope_BC[b, label].item(), rel=1e-4, abs=1e-8)


def _logits64(network: GapNetwork, images: Tensor) -> Tensor:
    return network.classifier(network.trunk(images).mean((2, 3)))


@pytest.mark.parametrize("name", ["conv1", "norm", "act1", "conv2", "act2"])
def test_a_layers_gradient_is_a_plain_backward(network: GapNetwork, images: Tensor, name: str) -> None:
    """Also of a layer that the next one overwrites."""
    features = features_of(network, images)
    (ours,) = layer_gradients(network, images, features, CLASSES, [f"trunk.{name}"])
    assert_same(ours, by_hand(network, images, name))


def test_what_the_head_reads_takes_no_forward_of_the_trunk(network: GapNetwork, images: Tensor) -> None:
    features = features_of(network, images)
    network.trunk.register_forward_pre_hook(lambda *_: pytest.fail("the trunk ran"))
    (ours,) = layer_gradients(network, images, features, CLASSES, [None])
    network.trunk._forward_pre_hooks.clear()
    assert_same(ours, by_hand(network, images, "act2"))


def test_several_layers_at_once_are_each_as_alone(network: GapNetwork, images: Tensor) -> None:
    features = features_of(network, images)
    several = layer_gradients(network, images, features, CLASSES, ["trunk.conv2", None, "trunk.conv1"])
    for ours, name in zip(several, ("conv2", "act2", "conv1"), strict=True):
        assert_same(ours, by_hand(network, images, name))


@pytest.mark.parametrize("surroundings", [torch.enable_grad, torch.inference_mode])
def test_once_a_whole_forward_was_seen_activations_alone_take_no_more_than_they_need(
    images: Tensor, surroundings: Callable[..., Any]
) -> None:
    network = toy()
    features = features_of(network, images)
    ran: list[str] = []
    for name, layer in network.trunk.named_children():
        layer.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    before = state(network)
    whole = ["conv1", "norm", "act1", "conv2", "act2"]
    # What two layers took says something of each, and of no third.
    for names, expected in (
        (["conv2", "conv1"], whole),
        (["conv1"], whole[:1]),
        (["conv2"], whole[:4]),
        (["norm", "conv1"], whole),
        (["norm", "conv1"], whole[:2]),
    ):
        ran.clear()
        with surroundings():
            found = layer_activations(network, images.clone(), features, [f"trunk.{name}" for name in names])
        assert ran == expected
        for ours, name in zip(found, names, strict=True):
            torch.testing.assert_close(ours.features_BKhw, by_hand(toy(), images, name).features_BKhw)
    assert state(network) == before


def test_activations_of_a_layer_that_is_used_twice_are_refused_each_time(images: Tensor) -> None:
    network = toy(twice=Twice())
    features = features_of(network, images)
    before = state(network)
    for _ in range(2):
        with pytest.raises(ValueError, match="more than once"):
            layer_activations(network, images, features, ["trunk.twice.shared"])
        layer_activations(network, images, features, ["trunk.conv1"])
    with pytest.raises(ValueError, match="takes no part"):
        layer_activations(network, images, features, ["trunk.conv1", "trunk.twice.unused"])
    assert state(network) == before


CALLS: dict[str, Callable[..., Any]] = {
    "image": lambda network, images, features: input_gradients(network, images, CLASSES),
    "features": lambda network, images, features: layer_gradients(network, images, features, CLASSES, [None]),
    "layer": lambda network, images, features: layer_gradients(network, images, features, CLASSES, ["trunk.conv1"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("surroundings", ["plain", "no_grad", "inference", "autocast"])
def test_the_network_is_left_as_it_was(
    network: GapNetwork, images: Tensor, call: Callable[..., Any], fails: bool, surroundings: str
) -> None:
    with {
        "plain": torch.enable_grad(),
        "no_grad": torch.no_grad(),
        "inference": torch.inference_mode(),
        "autocast": torch.autocast("cpu", torch.bfloat16),
    }[surroundings]:
        # As evaluation has it: images and features made where they cannot be differentiated.
        images = images.clone()
        features = features_of(network, images)
        kept = images.clone(), features.clone()
        before = state(network)
        if fails:
            network.forward_head = lambda features: 1 / 0  # type: ignore[method-assign,assignment]
            with pytest.raises(ZeroDivisionError):
                call(network, images, features)
            del network.forward_head
        else:
            result = call(network, images, features)
            tensors = [result] if isinstance(result, Tensor) else list(result[0])
            assert all(each.isfinite().all() and each.dtype == torch.float32 for each in tensors)
            assert tensors[-1].any()
        assert state(network) == before
        assert torch.equal(images, kept[0])
        assert torch.equal(features, kept[1])


def test_inference_mode_changes_no_bit(network: GapNetwork, images: Tensor) -> None:
    outside = input_gradients(network, images, CLASSES)
    with torch.inference_mode():
        assert torch.equal(input_gradients(network, images.clone(), CLASSES.clone()), outside)


def test_weights_cast_before_are_no_trap(network: GapNetwork, images: Tensor) -> None:
    """Autocast keeps its casts of weights; those made in inference mode could not be differentiated through."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features_of(network, images)
        assert input_gradients(network, images, CLASSES).isfinite().all()


def test_a_network_made_in_inference_mode_is_refused() -> None:
    with torch.inference_mode():
        network = toy()
    with pytest.raises(ValueError, match="build it outside"), differentiable(network):
        pass


class Twice(nn.Module):
    """Uses one layer twice, another never, and one for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(8, 8, 1)
        self.unused = nn.Conv2d(8, 8, 1)
        self.idle = nn.Conv2d(8, 8, 1)
        self.flat = nn.Flatten()

    def forward(self, x_BKhw: Tensor) -> Tensor:
        self.idle(x_BKhw)
        self.flat(x_BKhw)
        return self.shared(self.shared(x_BKhw))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("trunk.twice.shared", "more than once"),
        ("trunk.twice.unused", "takes no part"),
        ("trunk.twice.idle", "has no say"),
        ("trunk.twice.flat", r"gives no map \(B, K, h, w\), but \(3, "),
        ("classifier", r"gives no map \(B, K, h, w\), but \(3, 5\)"),
        ("trunk.conv3", "no layer trunk.conv3: trunk has the layers conv1, norm, act1, conv2, act2, twice; close: "),
        ("stem", "no layer stem: it has the layers trunk, dropout, classifier"),
        ("trunk.conv1.x", "no layer trunk.conv1.x: trunk.conv1 has no layers"),
    ],
)
def test_a_layer_that_has_no_gradient_is_named(images: Tensor, layer: str, message: str) -> None:
    network = toy(twice=Twice())
    before = state(network)
    with pytest.raises(ValueError, match=message):
        layer_gradients(network, images, features_of(network, images), CLASSES, [layer])
    assert state(network) == before


def test_a_layer_is_found_by_its_name(network: GapNetwork) -> None:
    assert layer_named(network, "trunk.conv2") is network.trunk.get_submodule("conv2")


def test_a_head_may_work_in_place(images: Tensor) -> None:
    """On what it reads, too: that stays what the evaluation's output holds."""

    class InPlace(GapNetwork):
        def head(self, features_BKhw: Tensor) -> ClassifierOutput:
            return super().head(features_BKhw.mul_(2))

    toys = toy()
    network = InPlace(
        toys.trunk, toys.classifier, normalization=IMAGENET, min_size=1, published=PublishedWeights({})
    ).eval()
    features = network.forward_features(images).detach()
    kept = features.clone()
    (ours,) = layer_gradients(network, images, features, CLASSES, [None])
    assert torch.equal(features, kept)
    weight_BTK = network.classifier.weight[CLASSES]
    expected = 2 * weight_BTK[..., None, None] / features[0, 0].numel()
    torch.testing.assert_close(ours.gradient_BTKhw, expected.expand_as(ours.gradient_BTKhw))
