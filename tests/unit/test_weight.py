"""Weights of units, asked of the head: a linear layer's rows, whatever pools in front of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cam_lightning.build import choice, instantiate
from cam_lightning.unit.weight import ClassUnits, shared_units, strongest_units, unit_weights
from tests.toy_network import ToyGap

SIZE = (64, 96)


@pytest.mark.parametrize("name", ["googlenet_gap", "googlenet_gmp", "resnet50_gap"])
def test_the_rows_of_the_linear_layer(name: str) -> None:
    torch.manual_seed(1)
    network = instantiate(choice("backbone", name), num_classes=4, weights="none").eval()
    torch.testing.assert_close(unit_weights(network, SIZE), network.classifier.weight.detach(), rtol=0, atol=1e-6)


def test_units_of_class_maps_are_the_classes() -> None:
    network = instantiate(choice("backbone", "squeezenet_gap"), num_classes=5, weights="none").eval()
    torch.testing.assert_close(unit_weights(network, SIZE), torch.eye(5))


def test_a_network_of_ones_own() -> None:
    network = ToyGap(nn.Conv2d(3, 6, 3, padding=1), units=6, num_classes=3).eval()
    torch.testing.assert_close(unit_weights(network, SIZE), network.classifier.weight.detach())


def test_a_head_with_layers_in_between_has_none() -> None:
    network = instantiate(choice("backbone", "alexnet"), num_classes=3, weights="none").eval()
    with pytest.raises(ValueError, match="not linear in its pooled features"):
        unit_weights(network, SIZE)


def test_ranking_and_sharing() -> None:
    weight_CK = torch.tensor([[0.1, 0.9, 0.5, 0.5], [0.0, -1.0, 0.7, 0.2], [0.3, 0.4, 0.9, 0.0]])
    units = strongest_units(weight_CK, [0, 2], 3)
    assert units.unit_CU.tolist() == [[1, 2, 3], [2, 1, 0]]
    assert units.weight_CU[1].tolist() == pytest.approx([0.9, 0.4, 0.3])
    assert shared_units(units) == {1: [0, 1], 2: [0, 1]}
    assert shared_units(ClassUnits(torch.tensor([[1], [2]]), torch.ones(2, 1))) == {}
