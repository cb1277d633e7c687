"""Files of Caffe's: written byte by byte, loaded, and classified as a plain forward of the published layers does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import caffe_networks as caffe
import pytest
import torch
from torch import Tensor

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.weights import load_weights, weights_num_classes
from cam_lightning.build import choice, instantiate

CLASSES = 7
MEANS = {"vgg16": (103.939, 116.779, 123.68), "vgg16_gap": (103.939, 116.779, 123.68)}
"""In the order of the file: blue, green, red."""


class Case(NamedTuple):
    backbone: str
    define: Callable[[], list[caffe.Layer]]
    size: tuple[int, int]
    variant: str = "caffe"


CASES = [
    Case("googlenet_gap", lambda: caffe.googlenet(CLASSES, cam=True), (64, 97)),
    Case("googlenet", lambda: caffe.googlenet(CLASSES, cam=False), (64, 97)),
    Case("vgg16_gap", lambda: caffe.vgg16(CLASSES, cam=True), (33, 50)),
    Case("alexnet_plus_gap", lambda: caffe.alexnet(CLASSES, "plus"), (79, 120)),
    Case("alexnet_gap", lambda: caffe.alexnet(CLASSES, "cam"), (79, 120)),
    Case("alexnet_gap", lambda: caffe.alexnet(CLASSES, "cam", norm_first=True), (79, 120), "bvlc"),
    Case("nin", lambda: caffe.nin(CLASSES), (79, 120)),
]
LARGE = [
    Case("alexnet", lambda: caffe.alexnet(CLASSES, "fc"), (227, 227)),
    Case("alexnet", lambda: caffe.alexnet(CLASSES, "fc", norm_first=True), (227, 227), "bvlc"),
    Case("vgg16", lambda: caffe.vgg16(CLASSES, cam=False), (224, 224)),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.backbone}-{case.variant}")


def build(backbone: str, variant: str = "caffe", num_classes: int = CLASSES, **options: Any) -> TrunkNetwork:
    return instantiate(choice("backbone", backbone), num_classes=num_classes, variant=variant, **options).eval()


@cache
def built(backbone: str, variant: str = "caffe") -> TrunkNetwork:
    """One network per case: each load overwrites it whole."""
    return build(backbone, variant)


def write(path: Path, layers: list[caffe.Layer], blobs: caffe.Blobs, **options: Any) -> str:
    path.write_bytes(caffe.caffemodel(layers, blobs, **options))
    return str(path)


def pixels(size: tuple[int, int]) -> Tensor:
    """RGB in 0..255, no two channels alike."""
    generator = torch.Generator().manual_seed(3)
    return torch.rand(2, 3, *size, generator=generator) * torch.tensor([255, 128, 60]).view(3, 1, 1)


def assert_classifies_as_caffe(
    case: Case, network: TrunkNetwork, layers: list[caffe.Layer], blobs: caffe.Blobs
) -> None:
    rgb_B3HW = pixels(case.size)
    means = torch.tensor(MEANS.get(case.backbone, (104, 117, 123))).view(3, 1, 1)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in network.normalization)
    with torch.no_grad():
        expected = caffe.forward(layers, blobs, rgb_B3HW.flip(1) - means)
        logits = network((rgb_B3HW / 255 - mean) / std).logits_BC
    assert float(expected.std()) > 0
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@every_case
@pytest.mark.parametrize("old", [True, False], ids=["V1", "V2"])
def test_a_published_network_classifies_as_in_caffe(case: Case, old: bool, tmp_path: Path) -> None:
    layers = case.define()
    blobs = caffe.random_blobs(layers, case.size)
    file = write(tmp_path / "a = b's.caffemodel", layers, blobs, old=old, double=not old)
    network = built(case.backbone, case.variant)
    assert weights_num_classes(network, file) == CLASSES
    load_weights(network, file, new_head=False)
    assert network.new_layers == ()
    assert_classifies_as_caffe(case, network, layers, blobs)


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGE, ids=lambda case: f"{case.backbone}-{case.variant}")
def test_a_large_network_classifies_as_in_caffe(case: Case, tmp_path: Path) -> None:
    layers = case.define()
    blobs = caffe.random_blobs(layers, case.size)
    network = build(case.backbone, case.variant, weights=write(tmp_path / "w.caffemodel", layers, blobs, old=True))
    assert_classifies_as_caffe(case, network, layers, blobs)


def test_the_unmodified_network_gives_the_trunk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As the authors began: BVLC's GoogLeNet, whose last modules and heads stay behind."""
    layers = [*caffe.googlenet(CLASSES, cam=False), caffe.Layer("conv", "loss1/conv", ("data",), 2)]
    blobs = {**caffe.random_blobs(layers[:-1], (64, 64)), "loss1/conv": [torch.ones(2, 3, 1, 1), torch.ones(2)]}
    file = write(tmp_path / "bvlc_googlenet.caffemodel", layers, blobs)
    network = built("googlenet_gap")
    with caplog.at_level("INFO"):
        load_weights(network, file)
    assert network.new_layers == ("trunk.cam_conv", "classifier")
    assert "inception_5a/1x1 (2 tensors)" in caplog.text
    assert "loss1/conv (2 tensors)" in caplog.text
    assert network.get_submodule("trunk.inception4e.branch3.1.0").weight.equal(blobs["inception_4e/5x5"][0])
    assert network.get_submodule("trunk.conv1.0").weight.equal(blobs["conv1/7x7_s2"][0].flip(1))
    with pytest.raises(ValueError, match=r"does not cover trunk\.cam_conv, classifier, which would stay at random"):
        load_weights(network, file, new_head=False)


def test_other_classes_make_a_new_head(tmp_path: Path) -> None:
    layers = caffe.googlenet(9, cam=True)
    file = write(tmp_path / "w.caffemodel", layers, caffe.random_blobs(layers, (64, 64)))
    network = built("googlenet_gap")
    load_weights(network, file)
    assert network.new_layers == ("classifier",)
    assert weights_num_classes(network, file) == 9


def test_a_layer_without_a_bias_has_one_of_zero(tmp_path: Path) -> None:
    layers = caffe.nin(CLASSES)
    blobs = caffe.random_blobs(layers, (79, 79))
    del blobs["cccp8-1024"][1]
    network = built("nin")
    load_weights(network, write(tmp_path / "w.caffemodel", layers, blobs, old=True), new_head=False)
    assert network.get_submodule("class_conv").bias.tolist() == [0] * CLASSES


@pytest.mark.parametrize("variant", ["caffe", "bvlc"])
def test_the_order_of_pooling_and_normalisation_is_not_mistaken(variant: str, tmp_path: Path) -> None:
    """The two AlexNets of Caffe's have the same shapes: the wrong one would classify, and worse, in silence."""
    layers = caffe.alexnet(CLASSES, "cam", norm_first=variant == "caffe")
    file = write(tmp_path / "w.caffemodel", layers, caffe.random_blobs(layers, (79, 79)))
    other = "bvlc" if variant == "caffe" else "caffe"
    with pytest.raises(
        ValueError, match=rf"of another network: its layers come in the order .*backbone\.variant={other} it is$"
    ):
        load_weights(built("alexnet_gap", variant), file)


def test_wrong_files_are_one_clear_line(tmp_path: Path) -> None:
    layers = caffe.alexnet(CLASSES, "plus")
    blobs = caffe.random_blobs(layers, (79, 79))
    data = caffe.caffemodel(layers, blobs)
    path = tmp_path / "w.caffemodel"
    short = {**blobs, "conv3": [blobs["conv3"][0], blobs["conv3"][1][:-1]]}
    renamed = [layer._replace(name=f"new_{layer.name}") for layer in layers]
    for content, complaint in [
        (data[: len(data) // 2], r"is damaged or no \.caffemodel: "),
        (b"", r"is damaged or no \.caffemodel: it holds no layer with weights"),
        (b"<html><title>404 Not Found</title></html>", r"is damaged or no \.caffemodel"),
        (caffe.caffemodel(layers, {}), r"it holds no layer with weights"),
        (caffe.caffemodel([*layers, layers[0]], blobs), r"has several layers of the name conv1$"),
        (caffe.caffemodel(layers, {**blobs, "conv4": blobs["conv4"] * 2}), r"conv4 has 4 arrays, not weight and bias$"),
        (
            caffe.caffemodel(layers, short),
            r"does not fit this network: .*8\.bias .* \(384,\), but conv3\.bias .*\(383,\)",
        ),
        (data.replace(blobs["conv3"][1].numpy().tobytes(), b"", 1), r"is damaged"),
        (
            caffe.caffemodel(renamed, {f"new_{name}": own for name, own in blobs.items()}),
            r"fits no layer of this network: the file has new_conv1\.0",
        ),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=complaint) as caught:
            load_weights(built("alexnet_plus_gap"), str(path))
        assert f"backbone.weights={path}" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"absent\.caffemodel: there is no such file"):
        load_weights(built("alexnet_plus_gap"), str(tmp_path / "absent.caffemodel"))


def test_arrays_that_are_not_as_long_as_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    layer = [caffe.Layer("conv", "conv1", ("data",))]
    good = caffe.caffemodel(layer, {"conv1": [torch.ones(2, 3)]})
    # The shape's 2 and 3, packed, are the last two bytes of the array's message.
    path.write_bytes(good[:-2] + bytes([2, 4]))
    with pytest.raises(
        ValueError, match=r"layer conv1: an array of the shape \(2, 4\) holds 6 numbers; the file is dam"
    ):
        load_weights(built("nin"), str(path))


def test_another_network_s_file_is_refused(tmp_path: Path) -> None:
    layers = caffe.alexnet(CLASSES, "plus")
    file = write(tmp_path / "w.caffemodel", layers, caffe.random_blobs(layers, (79, 79)))
    with pytest.raises(ValueError, match=r"trunk\.12\.weight has the shape \(256, .*but conv5\.weight .*\(384, "):
        load_weights(built("alexnet_gap"), file)
    with pytest.raises(ValueError, match=r"no weights of Caffe's fit this network; .* with backbone\.variant=caffe$"):
        load_weights(build("alexnet_gap", "torchvision"), file)


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    state = {name: torch.full_like(value, 1 / 3) for name, value in built("alexnet_gap").state_dict().items()}
    for kind in (torch.float16, torch.bfloat16):
        torch.save({name: value.to(kind) for name, value in state.items()}, tmp_path / "half.pth")
        network = build("alexnet_gap")
        load_weights(network, str(tmp_path / "half.pth"), new_head=False)
        assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
        assert network.classifier.weight[0, 0].item() == float(torch.tensor(1 / 3, dtype=kind))
