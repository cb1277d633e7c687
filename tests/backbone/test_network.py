"""The heads themselves: inputs, restriction to classes, pooling, precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.network import (
    IMAGENET,
    ClassMapNetwork,
    FullyConnectedNetwork,
    GapNetwork,
    PublishedWeights,
    TrunkNetwork,
)

SHARED = {"normalization": IMAGENET, "min_size": 3, "published": PublishedWeights({})}


def _gap(pool: str = "average", dropout: float = 0.0) -> GapNetwork:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return GapNetwork(trunk, nn.Linear(4, 5), pool=pool, dropout=dropout, **SHARED)  # type: ignore[arg-type]


def _class_maps() -> ClassMapNetwork:
    return ClassMapNetwork(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1), **SHARED)  # type: ignore[arg-type]


def _fully_connected() -> FullyConnectedNetwork:
    classifier = nn.Sequential(nn.Linear(4 * 2 * 2, 6), nn.ReLU(), nn.Linear(6, 5))
    return FullyConnectedNetwork(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), classifier, grid=2, **SHARED)  # type: ignore[arg-type]


every_head = pytest.mark.parametrize("build", [_gap, _class_maps, _fully_connected])


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(1, 1, 8, 8),
        torch.zeros(1, 8, 8, 3),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    ],
    ids=["no batch", "grey", "channels last", "not normalised"],
)
def test_another_layout_is_named(image: Tensor) -> None:
    with pytest.raises(ValueError, match=r"normalised RGB images \(B, 3, H, W\)"):
        _gap()(image)


def test_an_unknown_pool_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"backbone\.pool is one of average, max, lse, .*; got 'sum'"):
        _gap(pool="sum")


@every_head
@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 5], IndexError, r"classes \[5\] are not among this network's 0\.\.4"),
        ([-1], IndexError, r"classes \[-1\]"),
        ([2, 1, 2], ValueError, r"classes \[2\] are selected more than once"),
        ([], ValueError, "at least one class"),
    ],
)
def test_select_classes_refuses(
    build: type[TrunkNetwork], indices: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build().select_classes(indices)


@every_head
def test_training_a_restricted_network_leaves_the_heads_of_both_apart(build: type[TrunkNetwork]) -> None:
    network = build()
    head = {name: value.clone() for name, value in network.state_dict().items() if "trunk" not in name}
    selected = network.select_classes([4, 2])
    optimizer = torch.optim.SGD(selected.parameters(), lr=1.0)
    selected(torch.randn(2, 3, 9, 7)).logits_BC.square().sum().backward()
    first = next(network.trunk.parameters())
    before = first.clone()
    optimizer.step()
    selected_head = selected.get_submodule(selected.heads[0])
    for name, value in head.items():
        if name.startswith(network.heads[0]):
            assert network.state_dict()[name].equal(value), "the original's head"
    assert selected_head.weight.shape[0] == 2
    assert not first.equal(before), "the trunk is one and the same"
    assert selected.trunk is network.trunk


def test_select_classes_keeps_modes_and_frozen_parameters() -> None:
    network = _gap(dropout=0.5).eval()
    network.trunk[0].weight.requires_grad_(False)
    network.classifier.bias.requires_grad_(False)
    selected = network.select_classes([1])
    assert not any(module.training for module in selected.modules()), "dropout would be on"
    assert not selected.classifier.bias.requires_grad
    network.train()
    network.trunk[1].eval()
    assert network.select_classes([1]).training
    assert not network.trunk[1].training, "a frozen batch normalisation stays frozen"


def test_a_hook_on_the_restricted_network_is_its_own() -> None:
    network = _gap().eval()
    seen: list[int] = []
    network.select_classes([0]).register_forward_hook(lambda *_: seen.append(1))
    network(torch.zeros(1, 3, 8, 8))
    assert seen == []


def test_gmp_sends_its_gradient_to_the_maxima_alone() -> None:
    network = _gap(pool="max")
    network.trunk = nn.Identity()
    network.classifier = nn.Linear(3, 1, bias=False)
    nn.init.ones_(network.classifier.weight)
    image = torch.zeros(1, 3, 3, 4)
    image[0, 0, 1, 2] = image[0, 1, 2, 3] = image[0, 2, 0, 0] = 1.0
    image.requires_grad_()
    network(image).logits_BC.sum().backward()
    assert image.grad is not None
    assert image.grad.equal(image.detach())


@pytest.mark.parametrize("pool", ["average", "max"])
def test_bfloat16_does_not_reach_the_head(pool: str) -> None:
    """Two classes whose weights differ by less than bfloat16 can say keep their order."""
    network = _gap(pool=pool).eval()
    with torch.no_grad():
        network.classifier.weight.fill_(1.0)
        network.classifier.weight[1] += 1e-4
        network.classifier.bias.zero_()
    image = torch.randn(1, 3, 9, 7)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, features, _ = network(image)
        reference = F.linear(features.mean((2, 3)), network.classifier.weight)
    assert logits.dtype == features.dtype == torch.float32
    assert logits[0, 1] > logits[0, 0]
    assert reference[0, 1] == reference[0, 0], "the two would tie in bfloat16"


@pytest.mark.parametrize(("h", "w"), [(2, 2), (3, 5), (4, 7), (1, 9), (13, 18)])
def test_the_grid_is_adaptive_average_pooling(h: int, w: int) -> None:
    network = _fully_connected().eval()
    network.trunk, network.pool = nn.Identity(), nn.Identity()
    network.min_size = 1
    network.classifier = nn.Sequential(nn.Identity())
    image = torch.randn(2, 3, h, w)
    expected = torch.zeros(2, 3, 2, 2)
    for i in range(2):
        for j in range(2):
            rows = slice(i * h // 2, -(-(i + 1) * h // 2))
            columns = slice(j * w // 2, -(-(j + 1) * w // 2))
            expected[:, :, i, j] = image[:, :, rows, columns].mean((2, 3))
    torch.testing.assert_close(network(image).logits_BC, expected.flatten(1))


@pytest.mark.parametrize("pool", ["average", "max"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, None])
def test_from_the_middle_of_the_trunk_it_gives_what_the_whole_gives(pool: str, count: int | None) -> None:
    """With what hangs on the trunk itself, which does not run where the trunk has run as a whole already."""
    torch.manual_seed(0)
    network = _gap(pool).eval()
    network.trunk.register_forward_hook(lambda layer, given, output: output * 2)
    image_B3HW = torch.randn(2, 3, 9, 13)
    expected = network(image_B3HW)
    begun = network.first_layers(image_B3HW, count)
    assert begun.shape == ((2, 3, 9, 13) if count == 0 else (2, 4, 7, 11))
    output = network.forward_behind(begun.clone(), count)
    assert torch.equal(output.logits_BC, expected.logits_BC)
    assert torch.equal(output.features_BKhw, expected.features_BKhw)
    assert [name for name, _ in network.trunk.named_children()] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="are too small for this network"):
        network.first_layers(torch.zeros(1, 3, 9, 2), count)
