"""Which layers are the last of their map's size, of networks of which that is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy_network import ToyGap

from cam_lightning.backbone.resnet50_gap import resnet50_gap
from cam_lightning.backbone.vgg16_gap import vgg16_gap
from cam_lightning.functional.map_sizes import at_the_finest, coarsest_layers


def test_the_last_of_each_size_is_found() -> None:
    """Nothing within a block, such as ResNet's first convolution of the next stage, which has this one's size."""
    network = resnet50_gap(3)
    assert coarsest_layers(network, (64, 96), 4) == ("trunk.relu", "trunk.layer1", "trunk.layer2", None)
    assert coarsest_layers(network, (64, 96), 1) == (None,)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert coarsest_layers(vgg16_gap(3), (64, 96), 3) == ("trunk.15", "trunk.22", None)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.body = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(self.act(self.stem(x))))


def test_a_layer_that_is_used_twice_is_passed_over() -> None:
    """And a trunk that only wraps a model is looked into."""
    network = ToyGap(nn.Sequential(Twice()), 4, 3)
    assert coarsest_layers(network, (16, 24), 2) == ("trunk.0.stem", None)
    with pytest.raises(ValueError, match=r"cam\.layers=3 .* this network has 2 of images of 16×24: trunk.0.stem, None"):
        coarsest_layers(network, (16, 24), 3)
    with pytest.raises(ValueError, match=r"cam\.layers=0 "):
        coarsest_layers(network, (16, 24), 0)


def test_maps_are_brought_to_the_finest() -> None:
    maps = [torch.rand(1, 2, 2, 6), torch.rand(1, 2, 4, 3), torch.rand(1, 2, 4, 6)]
    large = at_the_finest(maps)
    assert [tuple(each.shape[2:]) for each in large] == [(4, 6)] * 3
    assert large[2] is maps[2]
