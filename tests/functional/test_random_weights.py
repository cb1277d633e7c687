"""The same network with random weights: another network of the same shape, and the first one as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toy_network import ToyGap

from cam_lightning.functional.random_weights import randomised


def network(norm: nn.Module) -> ToyGap:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 64, 3), norm, nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Dropout(0.5)]
    return ToyGap(nn.Sequential(*layers), 64, 5)


def test_every_weight_is_drawn_anew_and_the_network_is_left() -> None:
    before = network(nn.BatchNorm2d(64))
    before(torch.randn(4, 3, 20, 31))  # running statistics of its own
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    with torch.inference_mode():
        twin = randomised(before, 7)
    assert all(value.equal(kept[name]) for name, value in before.state_dict().items())
    assert before.training
    assert not twin.training
    assert not any(parameter.is_inference() for parameter in twin.parameters())
    for name, value in twin.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if value.ndim >= 2:
            assert not value.equal(kept[name])
            assert value.std() == pytest.approx((2 / value[0].numel()) ** 0.5, rel=0.15)
        else:
            assert (value == (1 if name.endswith(("1.weight", "running_var")) else 0)).all()


def test_it_follows_from_seed_and_name_alone() -> None:
    one, other = network(nn.BatchNorm2d(64)), network(nn.Identity())
    a, b, c = randomised(one, 1), randomised(other, 1), randomised(one, 2)
    assert a.trunk[3].weight.equal(b.trunk[3].weight)
    assert not a.trunk[3].weight.equal(c.trunk[3].weight)
    torch.manual_seed(5)
    assert a.trunk[0].weight.equal(randomised(one, 1).trunk[0].weight)


def test_activations_keep_their_scale_through_many_layers() -> None:
    """So that maps are not constants with noise in the last bits."""
    layers = [layer for _ in range(20) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())]
    deep = ToyGap(nn.Sequential(nn.Conv2d(3, 32, 1), *layers), 32, 5)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = randomised(deep, 0).forward_features(x)
    assert 0.01 < features.std() < 100
