"""TriLite's parts against plain loops and the released losses; its network, and its trunk that stays as it is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from toy_batch import batch_of, waves

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.build import choice, instantiate
from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.method.schedule import constant
from cam_lightning.method.trilite import ThreeChannels, TriLite, weighed_mean

CLASSES = 4
LABELS = torch.tensor([2, 0, 3])


@pytest.fixture
def network() -> ThreeChannels:
    torch.manual_seed(0)
    return ThreeChannels(googlenet_gap(CLASSES, width=0.125, units=16))


def make(network: nn.Module, alpha: float) -> TriLite:
    return TriLite(network, torch.optim.SGD, constant, learning_rate=0.1, alpha=alpha)


def slow_softmax(row: list[float]) -> list[float]:
    whole = sum(math.exp(value) for value in row)
    return [math.exp(value) / whole for value in row]


def test_losses_are_the_released_ones(network: ThreeChannels) -> None:
    own, foreground, background = (waves((3, CLASSES), 0.9 + 0.2 * i, i) for i in range(3))
    output = ClassifierOutput(own, torch.zeros(3, 1, 1, 1), {"foreground_BC": foreground, "background_BC": background})
    total, parts = make(network, alpha=7.0).loss(output, batch_of(torch.zeros(3, 3, 8, 8), LABELS))
    expected = dict.fromkeys(("classification", "foreground", "background"), 0.0)
    for row, label in enumerate(LABELS.tolist()):
        expected["classification"] -= math.log(slow_softmax(own[row].tolist())[label]) / 3
        expected["foreground"] -= math.log(slow_softmax(foreground[row].tolist())[label]) / 3
        expected["background"] -= 7 * math.log(1 - slow_softmax(background[row].tolist())[label] + 1e-6) / 3
    assert {name: float(part) for name, part in parts.items()} == pytest.approx(expected, rel=1e-4)
    assert float(total) == pytest.approx(sum(expected.values()), rel=1e-4)


def test_means_are_weighed_by_the_channels(network: ThreeChannels, images: Tensor) -> None:
    network.eval()
    with torch.no_grad():
        output = network(images)
    share, features = output.more["share_B3hw"], output.features_BKhw
    torch.testing.assert_close(share.sum(1), torch.ones_like(share[:, 0]))
    h, w = features.shape[2:]
    assert h != w
    for channel, name in ((0, "foreground_BC"), (1, "background_BC")):
        weights = [[float(share[1, channel, y, x]) for x in range(w)] for y in range(h)]
        mean = sum(weights[y][x] * features[1, :, y, x] for y in range(h) for x in range(w)) / sum(map(sum, weights))
        torch.testing.assert_close(weighed_mean(features, share[:, channel])[1], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output.more[name][1], network.part_classifier(mean).detach(), rtol=1e-4, atol=1e-5)


def test_it_is_a_network_whose_map_is_the_foreground(network: ThreeChannels, images: Tensor) -> None:
    network.eval()
    assert isinstance(network, Network)
    output = network(images)
    found = network.class_maps(output, torch.tensor([[0, 1], [2, 2], [3, 0]]))
    assert found is not None
    assert torch.equal(found[:, 0], output.more["share_B3hw"][:, 0])
    assert torch.equal(found[:, 0], found[:, 1])
    assert not found.requires_grad
    few = network.select_classes([3, 1])
    torch.testing.assert_close(few(images).logits_BC, output.logits_BC[:, [3, 1]])
    torch.testing.assert_close(few(images).more["foreground_BC"], output.more["foreground_BC"][:, [3, 1]])
    assert network.num_classes == CLASSES


@pytest.mark.parametrize("name", ["frozen", "trilite"])
def test_the_trunk_stays_as_it_is_and_the_rest_learns(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    network = googlenet_gap(CLASSES, width=0.125, units=16, batch_norm=True)
    node = choice("method", name)
    node.seed = 0
    part = node.get("network_part")
    built = network if part is None else instantiate(part, network=network)
    own = {key: value for key, value in node.items() if key not in ("network_part", "optimizer", "schedule")}
    method = instantiate(own, network=built, schedule=constant, optimizer=torch.optim.SGD)
    before = {key: value.clone() for key, value in built.state_dict().items()}
    optimizer = torch.optim.SGD(method.parameter_groups(), momentum=0.9)
    method.train()
    method.loss(built(images), batch_of(images, LABELS)).total.backward()
    optimizer.step()
    changed = {key for key, value in built.state_dict().items() if not torch.equal(value, before[key])}
    assert not {key for key in changed if key.startswith("trunk.")}
    heads = {"classifier.weight"} if part is None else {"part_classifier.weight", "classifier.classifier.weight"}
    assert heads <= changed
    assert not built.trunk.training


@pytest.mark.parametrize(
    ("make_it", "said"),
    [
        (lambda network: make(network, alpha=-1.0), r"method\.alpha is at least 0; got -1"),
        (lambda network: ThreeChannels(network, dropout=1.0), "dropout is a share"),
        (lambda network: ThreeChannels(nn.Identity()), "needs a network of a trunk and a head; Identity is none"),
    ],
)
def test_what_cannot_be_is_said(make_it: object, said: str, network: ThreeChannels) -> None:
    with pytest.raises(ValueError, match=said):
        make_it(network)  # type: ignore[operator]
