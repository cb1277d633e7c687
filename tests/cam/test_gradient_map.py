"""Maps of a named layer on every backbone; a few images at once; and several maps that share forward and backward."""

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
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.eigen_cam import EigenCam
from cam_lightning.cam.finer_cam import FinerCam
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.gradient_map import LayerMap, maps_together
from cam_lightning.cam.hires_cam import HiResCam
from cam_lightning.cam.layer_cam import LayerCam
from cam_lightning.cam.refine_cam import RefineCam

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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_named_layer_of_every_backbone(network: TrunkNetwork, precision: str) -> None:
    """As evaluation has it: inference mode around, everything made there."""
    cam = GradCam(first_convolution(network), batch_size=2)
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
    assert map_BThw.shape[2] != map_BThw.shape[3]
    assert torch.equal(map_BThw[1, 0], map_BThw[1, 1]), "the same class twice"
    # Where a network's units are classes, one that is positive nowhere has no gradient.
    assert (map_BThw.flatten(2).abs().amax(2) > 0).any()


def test_a_named_layer_is_checked_before_any_image(network: TrunkNetwork) -> None:
    before = state(network)
    cam = GradCam(first_convolution(network))
    cam.check(network, (network.min_size + 20, network.min_size + 56))
    assert state(network) == before
    with pytest.raises(ValueError, match="too small for this network"):
        cam.check(network, (network.min_size - 1, network.min_size))
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


LAYER = "trunk.inception4a"


def together() -> dict[str, Any]:
    """Of the features, of one layer, of several; with gradients and without; and what shares nothing."""
    return {
        "cam": ClassActivationMap(),
        "grad_cam": GradCam(),
        "grad_cam of a layer": GradCam(LAYER, batch_size=2),
        "layer_cam": LayerCam(),
        "layer_cam of three": LayerCam(3),
        "refine_cam": RefineCam(HiResCam(), [LAYER, None]),
        "eigen_cam of a layer": EigenCam(LAYER),
        "finer_cam": FinerCam(HiResCam()),
    }


def test_maps_made_together_are_those_made_alone() -> None:
    network = built("googlenet").eval()
    image_B3HW = images(network)
    with torch.no_grad():
        output = network(image_B3HW)
        made = maps_together(together(), network, image_B3HW, output, CLASSES)
        assert list(made) == list(together())
        for name, cam in together().items():
            alone = cam(network, image_B3HW, output, CLASSES)
            assert made[name].shape == alone.shape
            assert made[name].dtype == torch.float32
            torch.testing.assert_close(made[name], alone, rtol=1e-4, atol=1e-5 * float(alone.abs().max()), msg=name)


@pytest.mark.parametrize(
    ("names", "forwards", "heads"),
    [
        (["cam", "grad_cam", "layer_cam"], 0, 1),
        (["grad_cam", "grad_cam of a layer"], 2, 2),
        (["cam", "eigen_cam of a layer"], 1, 0),
        (["layer_cam", "finer_cam"], 0, 2),
    ],
)
def test_maps_made_together_share_forwards(names: list[str], forwards: int, heads: int) -> None:
    """Three images: those of a layer take two of them at a time."""
    network = built("googlenet").eval()
    image_B3HW = images(network)
    with torch.no_grad():
        output = network(image_B3HW)
    counted = {"forward_features": 0, "forward_head": 0}

    def counting(part: str) -> Any:
        make = getattr(network, part)

        def counted_part(given: Tensor) -> Any:
            counted[part] += 1
            return make(given)

        return counted_part

    # Which layers they are is asked once for each network and input size.
    for cam in together().values():
        if isinstance(cam, LayerMap):
            cam.names(network, (image_B3HW.shape[2], image_B3HW.shape[3]))
    for part in counted:
        setattr(network, part, counting(part))
    try:
        maps_together({name: together()[name] for name in names}, network, image_B3HW, output, CLASSES)
    finally:
        del network.forward_features, network.forward_head
    assert counted == {"forward_features": forwards, "forward_head": heads}


def test_a_map_of_no_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cam\.layers names no layer"):
        LayerCam([])
