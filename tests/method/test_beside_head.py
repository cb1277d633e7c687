"""A method's layers beside a network's head, which says what it said whatever else reads the features."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.contracts import ClassifierOutput
from cam_lightning.method.beside_head import BesideHead


class Beside(BesideHead):
    """A mean of all units as the map of every class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, "mine")  # type: ignore[arg-type]
        self.mean = nn.Conv2d(self.units, 1, 1)
        self.keep_head(network, "mean")  # type: ignore[arg-type]

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        return self.own_output(features_BKhw)._replace(more={"mean": self.mean(features_BKhw)})


def test_the_network_s_own_head_says_what_it_said() -> None:
    torch.manual_seed(0)
    network = googlenet_gap(4, width=0.125, units=16).eval()
    before = copy.deepcopy(network)
    changed = Beside(network).eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        given, expected = changed(images), before(images)
        torch.testing.assert_close(given.logits_BC, expected.logits_BC)
        assert given.more["mean"].shape == (2, 1, *expected.features_BKhw.shape[2:])
        fewer = changed.select_classes([2, 0])
        torch.testing.assert_close(fewer(images).logits_BC, expected.logits_BC[:, [2, 0]])
    assert changed.num_classes == 4
    names = [name.partition(".")[0] for name, _ in changed.named_parameters()]
    assert list(dict.fromkeys(names)) == ["trunk", "mean", "classifier"], "the order that checkpoints' optimizers have"


def test_layers_that_weights_did_not_cover_are_told_by_their_new_names() -> None:
    network = googlenet_gap(4, width=0.125, units=16)
    network.is_loaded, network.new_layers = True, ("trunk.cam_conv", "classifier")
    assert Beside(network).new_layers == ("trunk.cam_conv", "classifier.classifier", "mean")
    assert Beside(googlenet_gap(4, width=0.125, units=16)).new_layers == ()


def test_a_network_without_a_trunk_is_an_error() -> None:
    with pytest.raises(ValueError, match="method=mine needs a network of a trunk and a head; Linear is none"):
        Beside(nn.Linear(2, 2))
