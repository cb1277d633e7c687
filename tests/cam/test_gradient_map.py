"""The contract of every map that differentiates, on every backbone: finite, raw float32, and nothing left changed."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.build import choice, instantiate
from cam_lightning.cam.backprop import Backprop
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.gradient_map import GradientMap

CONF = Path(__file__).parents[2] / "conf" / "backbone"
CLASSES = torch.tensor([[0, 3], [2, 2], [1, 0]])
MAPS = {
    "backprop": lambda network: Backprop(batch_size=2),
    "grad_cam": lambda network: GradCam(batch_size=2),
    "grad_cam of a layer": lambda network: GradCam(first_convolution(network), batch_size=2),
}


@cache
def built(name: str) -> TrunkNetwork:
    torch.manual_seed(0)
    network: TrunkNetwork = instantiate(choice("backbone", name), num_classes=4)
    return network


def first_convolution(network: nn.Module) -> str:
    return next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))


def state(network: nn.Module) -> Any:
    return (
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [parameter.grad for parameter in network.parameters()],
        [(len(module._forward_hooks), len(module._backward_hooks)) for module in network.modules()],
        [(buffer.double().sum().item(), buffer.data_ptr()) for buffer in network.buffers()],
        [(parameter._version, parameter.data_ptr()) for parameter in network.parameters()],
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )


@pytest.fixture(params=sorted(path.stem for path in CONF.glob("*.yaml")))
def network(request: pytest.FixtureRequest) -> TrunkNetwork:
    """Its trunk in training mode and some of its weights frozen, which nobody asked to be changed."""
    if request.param == "timm_gap" and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    network = built(request.param).train()
    network.get_submodule(network.heads[0]).eval()
    for number, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(number % 3 > 0)
    return network


def images(network: TrunkNetwork) -> Tensor:
    """Small and not square."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 3, network.min_size + 20, network.min_size + 56, generator=generator)


@pytest.mark.parametrize("make", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_map_of_every_backbone(network: TrunkNetwork, make: Any, precision: str) -> None:
    """As evaluation has it: inference mode around, everything made there."""
    cam = make(network)
    modes = {module: module.training for module in network.modules()}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        image_B3HW = images(network)
        output = network.eval()(image_B3HW)
        for module, mode in modes.items():
            module.training = mode
        before = state(network)
        map_BThw = cam(network, image_B3HW, output, CLASSES.clone())
        assert state(network) == before
        network.forward_head = lambda features: 1 / 0  # type: ignore[method-assign,assignment]
        try:
            with pytest.raises(ZeroDivisionError):
                cam(network, image_B3HW, output, CLASSES.clone())
        finally:
            del network.forward_head
        assert state(network) == before
    assert map_BThw.dtype == torch.float32
    assert not map_BThw.requires_grad
    assert map_BThw.isfinite().all()
    assert map_BThw.shape[:2] == (3, 2)
    if isinstance(cam, Backprop):
        assert map_BThw.shape[2:] == image_B3HW.shape[2:]
    else:
        assert map_BThw.shape[2] != map_BThw.shape[3]
    assert torch.equal(map_BThw[1, 0], map_BThw[1, 1]), "the same class twice"
    # Where a network's units are classes, one that is positive nowhere has no gradient.
    assert (map_BThw.flatten(2).abs().amax(2) > 0).any()


@pytest.mark.parametrize("make", MAPS.values(), ids=MAPS)
def test_every_map_is_checked_before_any_image(network: TrunkNetwork, make: Any) -> None:
    before = state(network)
    make(network).check(network, (network.min_size + 20, network.min_size + 56))
    assert state(network) == before
    with pytest.raises(ValueError, match="too small for this network"):
        make(network).check(network, (network.min_size - 1, network.min_size))
    assert state(network) == before


@pytest.mark.parametrize("make", MAPS.values(), ids=MAPS)
def test_how_many_images_at_once_changes_nothing(make: Any) -> None:
    network = built("squeezenet_gap").eval()
    image_B3HW = images(network)
    with torch.no_grad():
        output = network(image_B3HW)
    sizes: list[int] = []

    class Counting(type(make(network))):  # type: ignore[misc]
        def maps(self, network: Any, image_B3HW: Tensor, *rest: Tensor) -> Tensor:
            sizes.append(len(image_B3HW))
            return super().maps(network, image_B3HW, *rest)

    some = make(network)
    some.__class__ = Counting
    two_at_once = some(network, image_B3HW, output, CLASSES)
    assert sizes == [2, 1]
    some.batch_size = 3
    whole = some(network, image_B3HW, output, CLASSES)
    torch.testing.assert_close(two_at_once, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("make", [Backprop, GradCam])
def test_no_image_at_once_is_refused(make: type[GradientMap]) -> None:
    with pytest.raises(ValueError, match=r"cam\.batch_size .* got 0"):
        make(batch_size=0)
