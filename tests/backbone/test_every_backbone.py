"""The contract that every yaml of conf/backbone keeps, in every variant that it offers."""

from __future__ import annotations

import copy
import importlib.util
import pickle
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.build import choice, instantiate
from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.run.trust import located

CONF = Path(__file__).parents[2] / "conf" / "backbone"
CLASSES = 5
_SWEPT = ("variant", "stride")
"""Options that change the layers, tried with each of the values that their type names."""
_FURTHER = {
    "googlenet_gap": [
        {"batch_norm": True, "width": 0.25, "stride": 8},
        {"variant": "caffe", "units": 0, "stride": 32},
    ],
    # Beside its default, a ResNet, two other families.
    "timm_gap": [{"trunk": "convnext_atto"}, {"trunk": "efficientnet_b0"}],
}

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


def _cases() -> Iterator[Any]:
    """Every yaml, once per value of the options that change its layers."""
    for path in sorted(CONF.glob("*.yaml")):
        hints = get_type_hints(located(choice("backbone", path.stem)["_target_"]))
        options = [{option: value} for option in _SWEPT for value in get_args(hints.get(option))]
        for chosen in [*(options or [{}]), *_FURTHER.get(path.stem, [])]:
            name = "-".join([path.stem, *map(str, chosen.values())])
            yield pytest.param(path.stem, chosen, id=name, marks=[needs_timm] if path.stem == "timm_gap" else [])


every_backbone = pytest.mark.parametrize(("name", "options"), list(_cases()))


def _build(name: str, options: dict[str, Any], num_classes: int = CLASSES) -> TrunkNetwork:
    return instantiate(choice("backbone", name), num_classes=num_classes, **options)


@cache
def _built(name: str, *options: tuple[str, Any]) -> TrunkNetwork:
    torch.manual_seed(0)
    return _build(name, dict(options)).eval()


@pytest.fixture
def network(name: str, options: dict[str, Any]) -> TrunkNetwork:
    """One network per case for all tests, whatever its values: VGG-16 takes seconds to initialise."""
    return _built(name, *options.items())


@pytest.fixture
def images(network: TrunkNetwork) -> Tensor:
    """Small and not square: a few cells high, one or two more wide."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, network.min_size + 20, network.min_size + 56, generator=generator)


def has_map(network: TrunkNetwork, output: ClassifierOutput) -> bool:
    return network.class_maps(output, torch.zeros(len(output.logits_BC), 1, dtype=torch.int64)) is not None


def _logits_by_hand(network: TrunkNetwork, features_BKhw: Tensor) -> Tensor:
    """The identity of the head, in float64 and one image and class at a time."""
    rows = []
    for features in features_BKhw.detach().double():
        if network.heads == ("class_conv",):
            rows.append([unit.clamp(min=0).sum() / unit.numel() for unit in features])
            continue
        row = []
        classifier = network.classifier
        for weight, bias in zip(classifier.weight.detach().double(), classifier.bias.detach(), strict=True):
            if network.pool == "max":
                row.append(sum(w * unit.max() for w, unit in zip(weight, features, strict=True)) + bias)
            else:
                map_hw = torch.einsum("k,khw->hw", weight, features)
                row.append(map_hw.sum() / map_hw.numel() + bias)
        rows.append(row)
    return torch.tensor(rows).float()


@every_backbone
def test_the_head_keeps_its_identity(network: TrunkNetwork, images: Tensor) -> None:
    """GAP: mean of the map plus bias. GMP: weighted maxima. Class maps: mean of the rectified map."""
    assert isinstance(network, Network)
    with torch.no_grad():
        output = network(images)
    logits, features, _ = output
    assert logits.shape == (2, CLASSES)
    assert logits.isfinite().all()
    assert features.shape[2] != features.shape[3], "a square map would hide a swap of width and height"
    if has_map(network, output):
        scale = float(logits.abs().max())
        torch.testing.assert_close(logits, _logits_by_hand(network, features), rtol=1e-5, atol=1e-5 * scale)
    if network.heads == ("class_conv",):
        assert features.shape[1] == CLASSES
        assert features.min() < 0, "class maps are those before the ReLU"


@every_backbone
def test_mixed_precision_and_memory_format_leave_the_head_in_float32(network: TrunkNetwork) -> None:
    image = torch.randn(1, 3, network.min_size, network.min_size + 16).to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = network(image)
    logits, features, _ = output
    assert logits.dtype == features.dtype == torch.float32
    if has_map(network, output):
        # bfloat16 keeps 3 digits: pooling or the classifier in it would miss this by a factor of 100.
        scale = float(logits.abs().max())
        torch.testing.assert_close(logits, _logits_by_hand(network, features), rtol=1e-5, atol=1e-5 * scale)


@every_backbone
def test_channels_last_reaches_every_convolution(network: TrunkNetwork, images: Tensor) -> None:
    """A layer that loses it makes those behind it slow."""
    twin = copy.deepcopy(network).to(memory_format=torch.channels_last)
    layouts: dict[str, bool] = {}

    def seen(name: str, x: Tensor) -> None:
        layouts[name] = x.is_contiguous(memory_format=torch.channels_last)

    for name, layer in twin.trunk.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(lambda _, given, name=name: seen(name, given[0]))
    with torch.no_grad():
        twin(images.contiguous(memory_format=torch.channels_last))
    assert layouts
    assert [name for name, is_kept in layouts.items() if not is_kept] == []


@every_backbone
def test_select_classes_restricts_and_reorders(network: TrunkNetwork, images: Tensor) -> None:
    selected = network.select_classes([3, 0])
    with torch.no_grad():
        whole, part = network(images), selected(images)
    scale = float(whole.logits_BC.abs().max())
    torch.testing.assert_close(part.logits_BC, whole.logits_BC[:, [3, 0]], rtol=1e-5, atol=1e-5 * scale)
    expected = whole.features_BKhw[:, [3, 0]] if network.heads == ("class_conv",) else whole.features_BKhw
    torch.testing.assert_close(part.features_BKhw, expected, rtol=1e-5, atol=1e-5 * scale)
    assert selected.trunk is network.trunk
    assert (selected.num_classes, network.num_classes) == (2, CLASSES)
    assert whole.logits_BC.shape == (2, CLASSES)


@every_backbone
def test_too_small_an_image_is_named(network: TrunkNetwork) -> None:
    side = network.min_size
    with torch.no_grad():
        assert network(torch.zeros(1, 3, side, side)).features_BKhw.numel() > 0
    with pytest.raises(ValueError, match=rf"{side - 1}×{side} .* at least {side} pixels"):
        network(torch.zeros(1, 3, side - 1, side))


@every_backbone
def test_two_training_steps_are_deterministic_and_reach_every_parameter(network: TrunkNetwork, images: Tensor) -> None:
    parameters = dict(network.named_parameters())
    watched = [next(iter(parameters)), f"{network.heads[0]}.weight"]
    before = [parameters[name].detach().clone() for name in watched]
    optimizer = torch.optim.SGD(parameters.values(), lr=1e-3)

    def gradient_sums() -> dict[str, float]:
        torch.manual_seed(0)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images).logits_BC, torch.tensor([1, 4]))
        assert loss.isfinite()
        loss.backward()
        unused = [name for name, parameter in parameters.items() if parameter.grad is None]
        assert unused == [], "a parameter without gradient makes DistributedDataParallel fail"
        return {name: parameter.grad.sum().item() for name, parameter in parameters.items()}

    torch.use_deterministic_algorithms(True)
    network.train()
    try:
        assert gradient_sums() == gradient_sums()
        optimizer.step()
        gradient_sums()
        optimizer.step()
    finally:
        torch.use_deterministic_algorithms(False)
        optimizer.zero_grad()
        network.eval()
    for name, value in zip(watched, before, strict=True):
        assert not parameters[name].equal(value), name


@every_backbone
def test_a_checkpoint_brings_every_layer_back(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """By name and shape, without storage, which VGG-16 has too much of; test_weights follows the values."""
    path = tmp_path / "epoch 3, it's=best.ckpt"
    with torch.device("meta"):
        saved = _build(name, options)
        torch.save({"state_dict": {f"network.{key}": v for key, v in saved.state_dict().items()}}, path)
        loaded = _build(name, options | {"weights": str(path), "new_head": False})
        assert loaded.new_layers == ()
        other = _build(name, options | {"weights": str(path)}, num_classes=CLASSES + 1)
        assert other.new_layers == other.heads
        with pytest.raises(ValueError, match=rf"{other.heads[0]}.weight has the shape"):
            _build(name, options | {"weights": str(path), "new_head": False}, num_classes=CLASSES + 1)


@every_backbone
def test_it_can_be_pickled_and_copied(name: str, options: dict[str, Any]) -> None:
    """Lightning copies modules, and starts processes with them."""
    with torch.device("meta"):
        network = _build(name, options)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(network)))
    assert list(twin.state_dict()) == list(network.state_dict())
    assert (twin.normalization, twin.min_size) == (network.normalization, network.min_size)


# Cells a side at 224: the paper's table (section 3.1), then the networks beyond it.
MAP_AT_224 = {
    "alexnet_gap": 13,
    "alexnet_plus_gap": 11,
    "vgg16_gap": 14,
    "googlenet_gap": 14,
    "googlenet_gap-True-0.25-8": 28,
    "googlenet_gap-caffe-0-32": 7,
    "googlenet_gmp": 14,
    "nin": 6,
    "googlenet": 7,
    "alexnet": 13,
    "vgg16": 14,
    "squeezenet_gap": 13,
    "resnet50_gap-8": 28,
    "resnet50_gap-16": 14,
    "resnet50_gap-32": 7,
    "inception_v3_gap": 12,
    "timm_gap": 7,
}


@every_backbone
def test_the_map_at_224(name: str, options: dict[str, Any]) -> None:
    cells = MAP_AT_224.get("-".join([name, *map(str, options.values())]), MAP_AT_224.get(name))
    assert cells is not None, f"say in MAP_AT_224 how fine the map of {name} is at 224"
    with torch.device("meta"):
        features = _build(name, options).eval()(torch.zeros(1, 3, 224, 224)).features_BKhw
    assert features.shape[2:] == (cells, cells)


@pytest.mark.parametrize(("name", "options"), [("googlenet_gap", {}), ("googlenet_gmp", {})])
def test_googlenet_gap_halves_its_map_at_112(network: TrunkNetwork) -> None:
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 112, 112)).features_BKhw.shape == (1, 1024, 7, 7)
