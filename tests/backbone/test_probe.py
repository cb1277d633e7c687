"""Networks with another classifier: what it reads, and that its map's mean is its score."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.alexnet import alexnet
from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.probe import ProbeNetwork, classifier_input, probe, set_classifier
from cam_lightning.backbone.squeezenet_gap import squeezenet_gap
from cam_lightning.method.acol import TwoBranches


def gap(num_classes: int = 4, **options: Any) -> TrunkNetwork:
    torch.manual_seed(0)
    return googlenet_gap(num_classes, width=0.125, **options).eval()


@pytest.fixture
def image() -> Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def outputs_of(network: nn.Module, layer: str, x: Tensor) -> Tensor:
    """By a hook of the test's own."""
    seen: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        network(x)
    handle.remove()
    return seen[0]


def test_nothing_changed_is_the_network_itself() -> None:
    network = gap()
    assert probe(network) is network


@pytest.mark.parametrize("pool", ["average", "max"])
def test_the_classifier_of_a_pooled_network_reads_the_pooled_map(pool: str, image: Tensor) -> None:
    network = gap(pool=pool)
    features = outputs_of(network, "trunk", image)
    expected = features.mean((2, 3)) if pool == "average" else features.amax((2, 3))
    with torch.no_grad():
        assert torch.equal(classifier_input(network, image), expected)
        assert torch.equal(classifier_input(probe(network, normalise=True), image), nn.functional.normalize(expected))
    # No hook is left behind.
    assert not network.classifier._forward_pre_hooks


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("layer", [None, "trunk.inception4a", "trunk.conv2"])
def test_the_mean_of_a_map_and_the_bias_are_the_score(layer: str | None, normalise: bool, image: Tensor) -> None:
    network = probe(gap(), layer, normalise).eval()
    units = network.classifier.in_features
    generator = torch.Generator().manual_seed(2)
    set_classifier(network, torch.randn(6, units, generator=generator), torch.randn(6, generator=generator))
    assert network.num_classes == 6
    with torch.no_grad():
        output = network(image)
        map_BChw = network.class_maps(output, torch.arange(6).expand(2, -1))
    assert map_BChw is not None
    assert output.logits_BC.std() > 0.01
    torch.testing.assert_close(map_BChw.mean((2, 3)) + network.classifier.bias.detach(), output.logits_BC)
    if layer is not None:
        expected = outputs_of(gap(), layer, image)
        assert torch.equal(output.features_BKhw, expected)


def test_normalising_does_not_move_what_is_strong_within_an_image(image: Tensor) -> None:
    plain, normalised = probe(gap()), probe(gap(), normalise=True)
    rows = torch.randn(3, plain.classifier.in_features, generator=torch.Generator().manual_seed(3))
    maps = []
    for network in (plain.eval(), normalised.eval()):
        set_classifier(network, rows, torch.zeros(3))
        with torch.no_grad():
            found = network.class_maps(network(image), torch.arange(3).expand(2, -1))
        assert found is not None
        maps.append(found)
    lengths = torch.stack([classifier_input(plain, image).norm(dim=1)])[0]
    torch.testing.assert_close(maps[1] * lengths[:, None, None, None], maps[0])


def test_fc7_of_alexnet_is_what_its_classifier_reads() -> None:
    network = alexnet(5).eval()
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    fc7 = outputs_of(network, "classifier.5", image)
    with torch.no_grad():
        assert torch.equal(classifier_input(network, image), fc7)
        named = probe(alexnet(5), "classifier.5").eval()
        named.trunk.load_state_dict({f"network.{name}": value for name, value in network.state_dict().items()
                                     if not name.startswith("classifier.6")})  # fmt: skip
        assert torch.equal(classifier_input(named, image), fc7)
    output = named(image)
    assert output.features_BKhw.shape == (1, 4096, 1, 1)
    assert named.class_maps(output, torch.zeros(1, 1, dtype=torch.int64)) is None
    # The thousand classes' rows do not travel along.
    assert not [name for name in named.state_dict() if "classifier.6" in name]


def test_a_layer_of_maps_gives_alexnet_a_class_activation_map() -> None:
    network = probe(alexnet(5), "trunk.11").eval()
    output = network(torch.randn(1, 3, 224, 160))
    found = network.class_maps(output, torch.tensor([[1, 3]]))
    assert found is not None
    assert found.shape == (1, 2, 13, 9)


def test_one_map_per_class_becomes_a_linear_layer_on_what_makes_the_maps(image: Tensor) -> None:
    network = squeezenet_gap(5).eval()
    probed = probe(network).eval()
    assert isinstance(probed, ProbeNetwork)
    with torch.no_grad():
        torch.testing.assert_close(classifier_input(probed, image), network.trunk(image).mean((2, 3)))


def test_it_is_built_again_from_its_parts_and_selects_classes(image: Tensor) -> None:
    network = probe(gap(), "trunk.inception4a", True).eval()
    set_classifier(network, torch.randn(4, network.classifier.in_features), torch.randn(4))
    again = probe(googlenet_gap(4, width=0.125), "trunk.inception4a", True).eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        logits = network(image).logits_BC
        assert torch.equal(again(image).logits_BC, logits)
        assert torch.equal(network.select_classes([3, 1])(image).logits_BC, logits[:, [3, 1]])


def test_what_a_probe_cannot_read_is_said() -> None:
    with pytest.raises(ValueError, match=r"layer=trunk.nowhere is no layer that a probe can read; .*trunk.inception4a"):
        probe(gap(), "trunk.nowhere")
    with pytest.raises(ValueError, match="layer=classifier is no layer"):
        probe(gap(), "classifier")
    with pytest.raises(ValueError, match="layer=dropout gives"):
        probe(_Odd(gap()), "dropout")
    with pytest.raises(ValueError, match="one linear layer at its end, not"):
        probe(TwoBranches(gap(), units=8))


class _Odd(TrunkNetwork):
    """A layer of it gives tokens."""

    heads = ("classifier",)

    def __init__(self, network: TrunkNetwork) -> None:
        super().__init__(network.trunk, network.normalization, network.min_size, network.published)
        self.dropout, self.classifier = nn.Dropout(0.0), nn.Linear(network.classifier.in_features, 2)

    def logits(self, features_BKhw: Tensor) -> Tensor:
        return self.classifier(self.dropout(features_BKhw.flatten(2).mT).mean(1))
