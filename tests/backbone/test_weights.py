"""Loading weights: what fits is loaded, what does not is named, and nothing is silent."""

from __future__ import annotations

import copy
import logging
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SqueezeNet1_0_Weights

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import IMAGENET, GapNetwork, PublishedWeights
from cam_lightning.backbone.squeezenet_gap import squeezenet_gap
from cam_lightning.backbone.weights import load_weights, read_torchvision, weights_num_classes


def _network(num_classes: int = 3, units: int = 4) -> GapNetwork:
    """A trunk of one convolution with batch normalisation, published as `features.*` with a head `fc`."""
    trunk = nn.Sequential(nn.Conv2d(3, units, 3), nn.BatchNorm2d(units), nn.ReLU())
    return GapNetwork(
        trunk,
        nn.Linear(units, num_classes),
        normalization=IMAGENET,
        min_size=3,
        published=PublishedWeights({"features.": "trunk.", "fc.": "classifier."}),
    )


def _published(num_classes: int = 3) -> dict[str, Tensor]:
    """A state dict under published names, without the counter that old files lack."""
    state = _network(num_classes).state_dict()
    names = {name: name.replace("trunk.", "features.").replace("classifier.", "fc.") for name in state}
    return {names[name]: torch.randn(value.shape) for name, value in state.items() if value.ndim}


def _save(content: Any, path: Path) -> str:
    torch.save(content, path)
    return str(path)


def test_none_loads_nothing_and_calls_nothing_new() -> None:
    network = _network()
    before = copy.deepcopy(network.state_dict())
    load_weights(network, "none")
    assert network.new_layers == ()
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
        lambda state: {"model": "resnet50", "state_dict": {f"model.{name}": value for name, value in state.items()}},
        lambda state: {"state_dict": {f"net.module.{name}": value for name, value in state.items()}},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"network._orig_mod.{name}": value for name, value in state.items()}},
    ],
    ids=[
        "plain",
        "state_dict",
        "model",
        "model_state_dict",
        "model.",
        "net.module.",
        "DataParallel",
        "compiled Lightning checkpoint",
    ],
)
@pytest.mark.parametrize("ours", [True, False], ids=["our names", "published names"])
def test_every_value_arrives(wrap: Any, ours: bool, tmp_path: Path) -> None:
    published = _published()
    expected = {
        name.replace("features.", "trunk.").replace("fc.", "classifier."): value for name, value in published.items()
    }
    network = _network()
    load_weights(network, _save(wrap(expected if ours else published), tmp_path / "w.pt"), new_head=False)
    for name, value in expected.items():
        assert network.state_dict()[name].equal(value), name
    assert network.new_layers == ()


def test_three_lines_say_what_happened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = _published(num_classes=1000) | {
        "aux.conv.weight": torch.zeros(2),
        "aux.conv.bias": torch.zeros(2),
    }
    path = _save(content, tmp_path / "w.pth")
    network = _network()
    with caplog.at_level(logging.INFO):
        load_weights(network, path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: loaded 6 tensors",
        f"{path}: new, kept at initialisation: classifier",
        f"{path}: left over in the weights: fc (2 tensors), aux (2 tensors)",
    ]
    assert network.new_layers == ("classifier",)


def test_a_new_head_keeps_its_initialisation_only_where_it_is_allowed(tmp_path: Path) -> None:
    path = _save(_published(num_classes=1000), tmp_path / "w.pth")
    network = _network()
    head = network.classifier.weight.clone()
    load_weights(network, path)
    assert network.classifier.weight.equal(head)
    with pytest.raises(ValueError, match=r"classifier\.weight .* \(3, 4\), but fc\.weight .*\(1000, 4\)"):
        load_weights(_network(), path, new_head=False)


@pytest.mark.parametrize("num_classes", [3, 1000])
def test_a_head_on_other_features_is_left_out_whole(num_classes: int, tmp_path: Path) -> None:
    """As where the layer before it was left out: its bias may fit, but belongs to its rows."""
    content = _published(num_classes) | {"fc.weight": torch.zeros(num_classes, 5)}
    network = _network()
    head = {name: value.clone() for name, value in network.classifier.state_dict().items()}
    path = _save(content, tmp_path / "w.pth")
    load_weights(network, path)
    assert network.new_layers == ("classifier",)
    for name, value in network.classifier.state_dict().items():
        assert value.equal(head[name]), name
    with pytest.raises(ValueError, match=r"classifier\.weight .* \(3, 4\), but fc\.weight .*, 5\)"):
        load_weights(_network(), path, new_head=False)


def test_a_layer_of_the_trunk_must_have_its_shape(tmp_path: Path) -> None:
    path = _save(_network(units=8).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"trunk\.0\.weight .* \(4, 3, 3, 3\), but .* \(8, 3, 3, 3\)"):
        load_weights(_network(), path)


def test_evaluation_refuses_layers_without_weights(tmp_path: Path) -> None:
    content = {name: value for name, value in _published().items() if "fc" not in name}
    path = _save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="does not cover classifier"):
        load_weights(_network(), path, new_head=False)
    network = _network()
    load_weights(network, path)
    assert network.new_layers == ("classifier",)


def test_half_a_layer_is_an_error(tmp_path: Path) -> None:
    """Batch normalisation with loaded weights over statistics of 0 and 1 would be silently wrong."""
    content = _published()
    del content["features.1.running_mean"]
    with pytest.raises(ValueError, match=r"part of a layer: \['trunk\.1\.running_mean'\] are missing"):
        load_weights(_network(), _save(content, tmp_path / "w.pth"))


def test_nothing_that_fits_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    path = _save({"encoder.layer.weight": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"fits no layer .* has encoder\.layer\.weight.*trunk\.0\.weight"):
        load_weights(_network(), path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"backbone\.weights=.*absent\.pth: there is no such file"):
        load_weights(_network(), str(tmp_path / "absent.pth"))
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_weights(_network(), str(tmp_path))


@pytest.mark.parametrize("name", ["truncated.pth", "empty.pth", "text.pth", "photo.jpg"])
def test_a_file_without_weights_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    torch.save(_published(), path)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "truncated.pth": whole[: len(whole) // 2],
            "empty.pth": b"",
            "text.pth": b"<html><title>404</title></html>",
            "photo.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
        }[name]
    )
    with pytest.raises(ValueError, match=rf"{name} is damaged or holds no weights"):
        load_weights(_network(), str(path))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3), {}], ids=["list", "dict", "tensor", "empty"])
def test_a_file_of_something_else_is_named(content: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no weights, but"):
        load_weights(_network(), _save(content, tmp_path / "w.pth"))


class _Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    content = {"state_dict": _Malicious(target)}
    torch.save(content, tmp_path / "w.pth")
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content, protocol=2))
    for name in ("w.pth", "w.pkl"):
        with pytest.raises(ValueError, match="is damaged or holds no weights"):
            load_weights(_network(), str(tmp_path / name))
    assert not target.exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    content = {name: value.to(dtype) for name, value in _published().items()}
    network = _network()
    load_weights(network, _save(content, tmp_path / "half.pth"))
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert network.classifier.weight.equal(content["fc.weight"].float())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    """Before any image is read, and not by a loss at the first step."""
    content = _published()
    content["features.0.bias"][1:3] = value
    network = _network()
    before = network.trunk[0].bias.clone()  # type: ignore[index, union-attr, operator]
    with pytest.raises(
        ValueError, match=r"w\.pth is broken: trunk\.0\.bias has 2 of 4 values that are NaN or infinite$"
    ):
        load_weights(network, _save(content, tmp_path / "w.pth"))
    assert network.trunk[0].bias.equal(before)  # type: ignore[index, union-attr, operator]


def test_two_networks_in_one_file_are_not_mixed(tmp_path: Path) -> None:
    state = _published()
    content = {**{f"model.{name}": value for name, value in state.items()}, **state}
    with pytest.raises(ValueError, match=r"features\.0\.weight twice, as model\.features\.0\.weight and features"):
        load_weights(_network(), _save(content, tmp_path / "w.pth"))


def test_a_network_whose_own_names_begin_so_keeps_them(tmp_path: Path) -> None:
    network = _network()
    network.published = PublishedWeights({"model.": "trunk.", "fc.": "classifier."})
    content = {name.replace("features.", "model."): value for name, value in _published().items()}
    load_weights(network, _save(content, tmp_path / "w.pth"), new_head=False)
    assert network.trunk[0].weight.equal(content["model.0.weight"])  # type: ignore[index, union-attr, operator]


def test_weights_num_classes_reads_the_head(tmp_path: Path) -> None:
    path = _save({"state_dict": _published(num_classes=200)}, tmp_path / "w.pth")
    assert weights_num_classes(_network(), path) == 200
    headless = _save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "headless.pth")
    with pytest.raises(ValueError, match="holds no classifier"):
        weights_num_classes(_network(), headless)


def test_imagenet_needs_published_weights() -> None:
    with pytest.raises(ValueError, match="no ImageNet weights are published"):
        googlenet_gap(3, variant="caffe", weights="imagenet")


def test_a_failed_download_says_which_file_goes_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match=r"squeezenet1_0-b66bff10\.pth.*no route to host") as caught:
        squeezenet_gap(3, weights="imagenet")
    assert str(tmp_path / "hub" / "checkpoints") in str(caught.value)
    assert "backbone.weights=FILE" in str(caught.value)


def test_a_file_in_the_hubs_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / "squeezenet1_0-b66bff10.pth"
    torch.save({"features.0.weight": torch.ones(1)}, path)
    assert read_torchvision(SqueezeNet1_0_Weights.IMAGENET1K_V1)["features.0.weight"].equal(torch.ones(1))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OSError, match=r"squeezenet1_0-b66bff10\.pth"):
        read_torchvision(SqueezeNet1_0_Weights.IMAGENET1K_V1)
