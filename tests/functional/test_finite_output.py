"""Which layer, and which images, an output that is not finite comes from."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_network import ToyGap

from cam_lightning.functional.finite_output import NAMED_IMAGES, broken_among, require_finite_output

IMAGES = torch.rand(5, 3, 12, 20, generator=torch.Generator().manual_seed(0))


class Divides(nn.Module):
    """Not a layer of torch's: its forward itself makes what is not finite."""

    def forward(self, x_BKhw: Tensor) -> Tensor:
        return x_BKhw / (x_BKhw - x_BKhw)


def network(*layers: nn.Module) -> ToyGap:
    torch.manual_seed(0)
    return ToyGap(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), *layers), 4, 6).eval()


def complaint(net: Any, images: Tensor = IMAGES) -> str:
    with torch.no_grad():
        logits_BC = net(images).logits_BC
    with pytest.raises(FloatingPointError) as error:
        require_finite_output(net, images, logits_BC, lambda row: f"photo {row}.jpg")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_finite_output_costs_no_second_forward() -> None:
    net = network()
    output = net(IMAGES)
    net.forward = None  # type: ignore[assignment]
    require_finite_output(net, IMAGES, output.logits_BC, str)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_broken_weights_are_named_by_their_parameter(value: float) -> None:
    net = network(nn.BatchNorm2d(4))
    net.trunk[1].running_mean[2:] = value  # type: ignore[index]
    said = complaint(net)
    assert "the network's weights are broken: trunk.1.running_mean has 2 of 4 values that are NaN or infinite" in said
    assert said.startswith("the network gives no finite number for photo 0.jpg, photo 1.jpg, photo 2.jpg and 2 more")


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ([Divides(), nn.ReLU()], "trunk.1 (Divides"),
        ([nn.ReLU(), nn.Sequential(nn.Identity(), Divides())], "trunk.2.1 (Divides"),
    ],
)
def test_the_first_layer_is_named_not_those_that_pass_it_on(layers: list[nn.Module], name: str) -> None:
    said = complaint(network(*layers))
    assert f"the first layer whose output is not finite is {name}, values up to " in said
    assert said.endswith("look at the weights, or compute in float32")


def test_overflow_in_half_precision_is_found_in_that_precision() -> None:
    net = network(nn.Conv2d(4, 4, 1))
    with torch.no_grad():
        net.trunk[0].weight.fill_(1e3)  # type: ignore[index]
        net.trunk[1].weight.fill_(1e3)  # type: ignore[index]
    with torch.autocast("cpu", torch.float16):
        assert "is trunk.1 (Conv2d, values up to" in complaint(net)
    require_finite_output(net, IMAGES, net(IMAGES).logits_BC, str)


def test_only_the_images_that_are_concerned_are_named_and_looked_at() -> None:
    """Row 3 alone overflows."""
    net = network()
    with torch.no_grad():
        net.trunk[0].weight.fill_(1.0)  # type: ignore[index]
        net.classifier.weight.fill_(1.0)
    images = IMAGES.clone()
    images[3] = 2e37
    assert complaint(net, images).startswith("the network gives no finite number for photo 3.jpg: the first layer")
    assert NAMED_IMAGES == 3


def test_a_sum_between_two_layers_shows_at_the_layer_behind_it() -> None:
    net = network()
    with torch.no_grad():
        net.trunk[0].bias.fill_(3e38)  # type: ignore[index]
    assert "is classifier (Linear, its input too)" in complaint(net)


def test_modes_and_hooks_are_as_before() -> None:
    net = network(nn.Dropout(0.5), Divides())
    net.trunk[1].train()  # type: ignore[index]
    complaint(net)
    assert [module.training for module in net.trunk] == [False, True, False]
    assert not any(module._forward_hooks for module in net.modules())


def test_a_compiled_network_is_looked_into() -> None:
    net = network(Divides())
    net.compile()
    with torch.compiler.set_stance("force_eager"), torch.no_grad():
        logits_BC = net(IMAGES).logits_BC
    with pytest.raises(FloatingPointError, match=r"is trunk\.1 \(Divides"):
        require_finite_output(net, IMAGES, logits_BC, str)


def test_whole_numbers_are_finite() -> None:
    assert broken_among([("a", torch.tensor(3)), ("b", torch.tensor([1.0, 2.0]))], "x") == ""
