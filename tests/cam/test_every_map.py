"""Every map on every backbone: finite, raw float32, the same in any batch, and a network that is left as it was."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import FullyConnectedNetwork, TrunkNetwork
from cam_lightning.backbone.published_head import PublishedHead
from cam_lightning.build import choice, instantiate
from cam_lightning.contracts import NoClassMapError
from cam_lightning.run.place import CONF

CLASSES = torch.tensor([[0, 3], [2, 2]])
"""Others for every image, and one that is asked for twice."""
CAMS = sorted(path.stem for path in (CONF / "cam").glob("*.yaml"))
QUICK = ("alexnet", "squeezenet_gap", "timm_gap")
"""A head without a CAM, one map per class, residual blocks and average pooling; the others take longer."""
TRANSFORMERS = {"vit": {"trunk": "test_vit"}, "vit_published": {"trunk": "test_vit", "head": "published"}}
"""Beside conf/backbone: `timm_gap` with patch tokens, averaged, and with a head that reads the class token."""
LESS: dict[str, dict[str, Any]] = {
    "ablation_cam": {"batch_size": 256},
    "score_cam": {"units": 5},
    "integrated_gradients": {"steps": 2},
    "smooth_grad": {"samples": 2},
    "smooth_grad_cam_plus_plus": {"samples": 2},
}
"""Options that make a map cheaper."""
OF_TOKENS: dict[str, dict[str, Any]] = {
    "augmented": {"factors": [1.0]},  # of more than two maps, rows of 18 cells are summed in different orders
    "multi_scale": {"scales": [1.0, 2.0]},
    "refine_cam": {"layers": ["trunk.model.blocks.1", "trunk.model.blocks.3"]},
}
"""What a grid of one size and of whole patches asks for."""
OF_CLASSES = ("cam", "default", "ten_crop", "augmented", "multi_scale", "ts_cam")
"""Maps that a network without a CAM has not."""
OF_ATTENTION = ("attention_rollout", "class_attention", "le_grad", "ts_cam")
"""Maps that a network without a transformer's blocks has not."""

every_backbone = pytest.mark.parametrize(
    "backbone",
    [
        pytest.param(path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow])
        for path in sorted((CONF / "backbone").glob("*.yaml"))
    ]
    + list(TRANSFORMERS),
)
every_cam = pytest.mark.parametrize("cam", CAMS)


@cache
def built(backbone: str) -> TrunkNetwork:
    options = TRANSFORMERS.get(backbone, {})
    backbone = "timm_gap" if options else backbone
    if backbone == "timm_gap" and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    torch.manual_seed(0)
    network: TrunkNetwork = instantiate(choice("backbone", backbone), num_classes=4, **options)
    if network.heads == ("class_conv",):
        # Above zero, where its class maps have a gradient.
        nn.init.constant_(network.get_submodule("class_conv").bias, 1.0)  # type: ignore[arg-type]
    return network


def unasked(backbone: str) -> TrunkNetwork:
    """Its trunk in training mode and some of its weights frozen, which nobody asked to be changed."""
    network = built(backbone).train()
    network.get_submodule(network.heads[0]).eval()
    for number, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(number % 3 > 0)
    return network


def made(cam: str, network: TrunkNetwork, **options: Any) -> Any:
    config = choice("cam", cam)
    of_tokens = OF_TOKENS.get(cam, {}) if hasattr(network.trunk, "multiple") else {}
    config.update(LESS.get(cam, {}) | of_tokens | options)
    if cam == "ten_crop":
        config.crop_size = fitting(network, network.min_size + 8)
    return instantiate(config)


def fitting(network: TrunkNetwork, side: int) -> int:
    """A side of an image, in whole patches where there are such."""
    multiple = int(getattr(network.trunk, "multiple", 1))
    return -(-side // multiple) * multiple


def images(cam: str, network: TrunkNetwork, count: int = 2) -> Tensor:
    """Small and, but for ten crops, not square."""
    height = fitting(network, network.min_size + 20)
    width = height if cam == "ten_crop" else fitting(network, height + 36)
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def evaluated(network: TrunkNetwork, image_B3HW: Tensor) -> Any:
    modes = {module: module.training for module in network.modules()}
    output = network.eval()(image_B3HW)
    for module, mode in modes.items():
        module.training = mode
    return output


def state(network: nn.Module) -> Any:
    """All that a map might change of a network and of its surroundings."""
    return (
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [parameter.grad for parameter in network.parameters()],
        [(len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
         for module in network.modules()],
        [(buffer.double().sum().item(), buffer.data_ptr()) for buffer in network.buffers()],
        [(parameter._version, parameter.data_ptr()) for parameter in network.parameters()],
        [getattr(module, "fused_attn", None) for module in network.modules()],
        list(vars(network)),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )  # fmt: skip


@every_backbone
@every_cam
def test_every_map_of_every_backbone(cam: str, backbone: str) -> None:
    """As evaluation has it: inference mode around, everything made there."""
    network = unasked(backbone)
    way = made(cam, network)
    with torch.inference_mode():
        image_B3HW = images(cam, network)
        output = evaluated(network, image_B3HW)
        before = state(network)
        if cam in OF_CLASSES and isinstance(network, FullyConnectedNetwork | PublishedHead):
            with pytest.raises(NoClassMapError):
                way(network, image_B3HW, output, CLASSES.clone())
            assert state(network) == before
            return
        if cam in OF_ATTENTION and backbone not in TRANSFORMERS:
            with pytest.raises(ValueError, match="this network has no such blocks"):
                way(network, image_B3HW, output, CLASSES.clone())
            assert state(network) == before
            return
        map_BThw = way(network, image_B3HW, output, CLASSES.clone())
        assert state(network) == before
        way.check(network, tuple(image_B3HW.shape[2:]))
        assert state(network) == before
        for part in ("forward_features", "forward_head"):
            _fails_cleanly(way, network, part, image_B3HW, output)
            assert state(network) == before
    assert map_BThw.dtype == torch.float32
    assert not map_BThw.requires_grad
    assert map_BThw.isfinite().all()
    assert map_BThw.shape[:2] == (2, 2)
    assert cam == "ten_crop" or map_BThw.shape[2] != map_BThw.shape[3]
    assert torch.equal(map_BThw[1, 0], map_BThw[1, 1]), "the same class twice"
    assert (map_BThw.flatten(2).amax(2) > map_BThw.flatten(2).amin(2)).any(), "it says something"


def _fails_cleanly(way: Any, network: TrunkNetwork, part: str, image_B3HW: Tensor, output: Any) -> None:
    """Where the map asks the network again, an error in there comes out."""
    asked = []

    def fail(*inputs: object) -> None:
        asked.append(part)
        raise ZeroDivisionError

    setattr(network, part, fail)
    try:
        with suppress(ZeroDivisionError):
            way(network, image_B3HW, output, CLASSES.clone())
            assert not asked
    finally:
        delattr(network, part)


@pytest.mark.parametrize("backbone", ["squeezenet_gap", pytest.param("timm_gap", marks=pytest.mark.slow)])
@every_cam
def test_a_map_does_not_depend_on_its_batch(cam: str, backbone: str) -> None:
    network = built("vit" if cam in OF_ATTENTION else backbone).eval()
    image_B3HW = images(cam, network, 3)
    classes_BT = torch.tensor([[0, 3], [2, 1], [1, 0]])
    with torch.no_grad():
        together = made(cam, network)(network, image_B3HW, network(image_B3HW), classes_BT)
        for b, t in ((0, 1), (2, 0)):
            image_13HW = image_B3HW[b : b + 1].clone()
            alone = made(cam, network)(network, image_13HW, network(image_13HW), classes_BT[b : b + 1, t : t + 1])
            limit = 1e-4 * float(together[b, t].abs().max())
            assert float((alone[0, 0] - together[b, t]).abs().max()) <= limit, (b, t)


@every_cam
def test_a_map_is_float32_under_mixed_precision(cam: str) -> None:
    network = built("vit" if cam in OF_ATTENTION else "timm_gap").eval()
    image_B3HW = images(cam, network)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        output = network(image_B3HW)
        map_BThw = made(cam, network)(network, image_B3HW, output, CLASSES.clone())
    assert map_BThw.dtype == torch.float32
    assert map_BThw.isfinite().all()
    if map_BThw.shape[2:] == output.features_BKhw.shape[2:]:
        # In bfloat16 the cells that hold the maximum would tie, and few values be told apart.
        assert len(map_BThw[0, 0].unique()) == map_BThw[0, 0].numel()


@pytest.mark.parametrize("cam", [cam for cam in CAMS if cam not in ("cam", "default", "ten_crop")])
def test_too_small_an_image_is_named_beforehand(cam: str) -> None:
    network = unasked("nin" if cam in OF_CLASSES else "alexnet")
    before = state(network)
    with pytest.raises(ValueError, match="too small for this network"):
        made(cam, network).check(network, (network.min_size - 1, network.min_size))
    assert state(network) == before


@pytest.mark.parametrize("cam", [cam for cam in CAMS if "batch_size" in choice("cam", cam)])
def test_no_image_at_once_is_refused(cam: str) -> None:
    with pytest.raises(ValueError, match=r"cam\.batch_size .* got 0"):
        made(cam, built("nin"), batch_size=0)


def test_nothing_above_is_vacuous() -> None:
    assert len(CAMS) > 20
