"""Self-produced guidance: masks and losses against plain loops and the benchmark's code; its network."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy_batch import batch_of, waves

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.resnet50_gap import resnet50_gap
from cam_lightning.backbone.vgg16_gap import vgg16_gap
from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.method.schedule import constant
from cam_lightning.method.spg import SelfProducedGuidance, Spg, guided, sure_pixels

CLASSES = 4


def make(network: nn.Module, **options: Any) -> Spg:
    return Spg(network, torch.optim.SGD, constant, learning_rate=0.1, **options)


def slow_entropy(logit_HW: list[list[float]], map_HW: list[list[float]], high: float, low: float) -> tuple[float, int]:
    """The summed cross entropy of one image, and over how many pixels."""
    values = [value for row in map_HW for value in row]
    if sum(value > high for value in values) < 30:
        high = 0.7 * max(values)
    total, counted = 0.0, 0
    for logits, row in zip(logit_HW, map_HW, strict=True):
        for logit, value in zip(logits, row, strict=True):
            probability = 1 / (1 + math.exp(-logit))
            if value < low:
                total, counted = total - math.log(1 - probability), counted + 1
            elif value > high:
                total, counted = total - math.log(probability), counted + 1
    return total, counted


@pytest.mark.parametrize(("high", "low"), [(0.7, 0.05), (0.97, 0.6), (0.5, 0.5)])
def test_the_guided_loss_equals_a_plain_loop(high: float, low: float) -> None:
    """An image with plenty of object pixels, one with few (its threshold alone is lowered), one constant."""
    maps = torch.rand(3, 1, 13, 17, generator=torch.Generator().manual_seed(0))
    maps[1] *= 0.9
    maps[1, 0, 2, 3] = 0.96
    maps[2] = 0
    logits = torch.randn(3, 1, 13, 17, generator=torch.Generator().manual_seed(1))
    sums = [slow_entropy(logits[b, 0].tolist(), maps[b, 0].tolist(), high, low) for b in range(3)]
    expected = sum(total for total, _ in sums) / sum(counted for _, counted in sums)
    assert float(guided(logits, maps, high, low)) == pytest.approx(expected, rel=1e-5)


def test_background_wins_and_few_pixels_are_under_thirty() -> None:
    maps = torch.zeros(2, 1, 10, 10)
    maps[0, 0, :3] = 0.8  # thirty are not few
    maps[1, 0, :3] = 0.8
    maps[1, 0, 0, 0] = 0.6  # twenty-nine are: what exceeds 0.7 · 0.8 is object too
    object_, background = sure_pixels(maps, 0.7, 0.05)
    assert [int(each.sum()) for each in object_] == [30, 30]
    assert [int(each.sum()) for each in background] == [70, 70]
    object_, background = sure_pixels(maps, 0.9, 0.7)
    assert [int(each.sum()) for each in object_] == [30, 29], "0.6 is above 0.7 · 0.8, and below the lower threshold"
    assert not (object_ & background).any()


BENCHMARK: list[Any] = [
    # Thresholds; then class, deep, shallow and last losses: computed once from clovaai/wsolevaluation, method/spg.py,
    # whose maps are always upsampled to 224×224.
    (((0.7, 0.01), (0.5, 0.05), (0.7, 0.1)), (1.175518036, 0.813794494, 0.785739839, 0.655242980)),
    (((0.7, 0.3), (0.5, 0.2), (0.9, 0.3)), (1.175518036, 0.938917518, 0.793043852, 0.756664038)),
]


@pytest.mark.parametrize(("thresholds", "losses"), BENCHMARK)
def test_the_losses_equal_the_benchmark(thresholds: Any, losses: tuple[float, ...]) -> None:
    maps = waves((2, 3, 4, 4), 0.9, 0.2)
    more = {"map_BChw": maps, "shallow": waves((2, 1, 8, 8), 0.37, 1, 2), "deep": waves((2, 1, 4, 4), 0.53, 0.4, 2),
            "last": waves((2, 1, 4, 4), 0.71, 0.9, 2)}  # fmt: skip
    attention, deep, fused = thresholds
    base = googlenet_gap(3, width=0.125, units=16)
    method = make(base, attention_thresholds=attention, deep_thresholds=deep, fused_thresholds=fused)
    loss = method.loss(ClassifierOutput(maps.mean((2, 3)), maps, more), batch_of(torch.zeros(2, 3, 224, 224), [2, 0]))
    for name, expected in zip(("classification", "deep", "shallow", "last"), losses, strict=True):
        assert float(loss.parts[name]) == pytest.approx(expected, rel=2e-5), name
    assert float(loss.total) == pytest.approx(sum(losses), rel=2e-5)


@pytest.fixture
def network() -> SelfProducedGuidance:
    torch.manual_seed(0)
    return SelfProducedGuidance(googlenet_gap(CLASSES, width=0.125, units=16), units=8)


def test_the_branches_read_the_layers_that_they_are_behind(network: SelfProducedGuidance, images: Tensor) -> None:
    output = network.train()(images)
    assert network.layers == ("inception3b", "inception4e")
    given: dict[str, Tensor] = {}
    for name in network.layers:
        network.trunk.get_submodule(name).register_forward_hook(lambda *seen, name=name: given.update({name: seen[2]}))
    features = network.trunk(images)
    shared, (shallow, deep) = network.shared, (given[name] for name in network.layers)
    assert shallow.shape[2] == 2 * deep.shape[2]
    torch.testing.assert_close(output.more["shallow"], shared(network.shallow(shallow)))
    torch.testing.assert_close(output.more["deep"], shared(network.deep(deep)))
    torch.testing.assert_close(output.more["last"], network.last(features))
    torch.testing.assert_close(output.logits_BC, network.class_conv(features).mean((2, 3)))


def test_the_attention_is_the_labels_map_and_no_mask_is_differentiated(
    network: SelfProducedGuidance, images: Tensor
) -> None:
    batch = batch_of(images, [1, 3, 0])
    output = network.train()(images)
    method = make(network)
    up = F.interpolate(output.more["map_BChw"], (64, 112), mode="bilinear")
    attention = torch.stack([(each - each.min()) / (each.max() - each.min())
                             for each in (up[0, 1], up[1, 3], up[2, 0])])[:, None]  # fmt: skip
    deep = F.interpolate(output.more["deep"], (64, 112), mode="bilinear")
    loss = method.loss(output, batch)
    torch.testing.assert_close(loss.parts["deep"], guided(deep, attention, 0.7, 0.05))
    loss.parts["deep"].backward(retain_graph=True)
    assert network.class_conv.weight.grad is None, "the attention teaches, and is not taught"
    network.zero_grad()
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in network.parameters()), "else DDP would refuse"


def test_it_is_a_network_like_any_other(network: SelfProducedGuidance, images: Tensor) -> None:
    network = network.eval()
    assert isinstance(network, Network)
    with torch.no_grad():
        whole, part = network(images), network.select_classes([3, 1])(images)
        maps = network.class_maps(whole, torch.tensor([[3, 1], [0, 0], [2, 3]]))
        selected = network.select_classes([3, 1]).class_maps(part, torch.tensor([[0, 1]] * 3))
    assert set(whole.more) == {"map_BChw"}, "branches are for training"
    torch.testing.assert_close(part.logits_BC, whole.logits_BC[:, [3, 1]])
    assert maps is not None
    assert selected is not None
    torch.testing.assert_close(maps[0], selected[0])
    torch.testing.assert_close(maps[2, 1].mean(), whole.logits_BC[2, 3])
    assert (network.num_classes, network.heads) == (CLASSES, ("class_conv",))


def test_it_finds_the_published_places_and_takes_others() -> None:
    with torch.device("meta"):
        assert SelfProducedGuidance(vgg16_gap(3)).layers == ("22", "29")
        published = SelfProducedGuidance(resnet50_gap(3), ["layer3.0", "layer3"], units=1024)
    assert published.shallow[0].in_channels == published.deep[0].in_channels == 1024
    base = googlenet_gap(CLASSES, width=0.125, units=16)
    for wrong, message in (({"layers": ["conv1"]}, "are two, the shallow one first; got .'conv1'."),
                           ({"layers": ["conv1", "conv9"]}, "conv9 is no layer of the trunk"),
                           ({"units": 0}, "at least 1")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            SelfProducedGuidance(base, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a network of a trunk and a head; Linear is none"):
        SelfProducedGuidance(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"deep_thresholds are an upper and a lower share in \(0, 1\); got \[0.1, 0.5\]"
    ):
        make(base, deep_thresholds=[0.1, 0.5])


def test_branches_on_loaded_weights_are_new_layers() -> None:
    base = googlenet_gap(CLASSES, width=0.125, units=16)
    assert SelfProducedGuidance(base, units=8).new_layers == ()
    base.is_loaded, base.new_layers = True, ("trunk.cam_conv.conv", "classifier")
    assert SelfProducedGuidance(base, units=8).new_layers == (
        "trunk.cam_conv.conv", "shallow", "deep", "shared", "last", "class_conv")  # fmt: skip
