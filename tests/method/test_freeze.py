"""Frozen layers: what names them, and that they stay bit for bit what they were, statistics too."""

from __future__ import annotations

import copy
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.dataset.shapes import Shapes
from cam_lightning.method.classification import Classification
from cam_lightning.method.freeze import freeze_layers
from cam_lightning.method.schedule import constant

SGD = partial(torch.optim.SGD, momentum=0.9)


def small(num_classes: int) -> Any:
    return googlenet_gap(num_classes, width=0.125, units=64)


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    return small(6)


def of_trunk(network: nn.Module) -> list[str]:
    """The trunk's layers that have parameters, and whose parameters all rest."""
    return [
        name
        for name, layer in network.trunk.named_children()  # type: ignore[union-attr, operator]
        if list(layer.parameters()) and not any(each.requires_grad for each in layer.parameters())
    ]


@pytest.mark.parametrize(
    ("names", "through", "expected"),
    [
        ([], None, []),
        (["conv1"], None, ["conv1"]),
        (["conv?"], None, ["conv1", "conv2", "conv3"]),
        (["conv1", "inception3*"], None, ["conv1", "inception3a", "inception3b"]),
        (["trunk.conv2"], None, ["conv2"]),
        ([], "conv1", ["conv1"]),
        ([], "maxpool2", ["conv1", "conv2", "conv3"]),
        (["inception4e"], "conv2", ["conv1", "conv2", "inception4e"]),
    ],
)
def test_what_names_a_layer(network: Any, names: list[str], through: str | None, expected: list[str]) -> None:
    frozen = freeze_layers(network, names, through)
    assert of_trunk(network) == expected
    assert bool(frozen) == bool(expected)
    assert all(not module.training for layer in frozen for module in layer.modules())
    assert all(each.requires_grad for each in network.classifier.parameters())


def test_a_part_goes_by_its_whole_path_and_the_head_by_its_name(network: Any) -> None:
    freeze_layers(network, ["trunk.inception3a.branch1", "classifier"], None)
    resting = {name for name, each in network.named_parameters() if not each.requires_grad}
    assert resting == {
        name for name, _ in network.named_parameters() if name.startswith(("trunk.inception3a.branch1.", "classifier."))
    }


def test_it_is_said_what_learns(network: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        freeze_layers(network, ["*"], None)
    total = sum(each.numel() for each in network.parameters())
    assert f"cam_conv; {6 * network.classifier.in_features + 6} of {total:,} parameters learn" in caplog.text
    assert "frozen: conv1, conv2, conv3, inception3a, " in caplog.text


@pytest.mark.parametrize(
    ("names", "through", "said"),
    [
        (["inception_3"], None, r"method\.freeze: 'inception_3' names no layer\. The trunk has conv1, maxpool1, conv2"),
        ([], "inception3", r"method\.freeze_through: 'inception3' names no layer\. The trunk has conv1"),
        ([], "classifier", r"method\.freeze_through: 'classifier' names no layer.*beside it are dropout, classifier"),
        (["*", "classifier"], None, "leaves nothing to learn"),
        ("conv1", None, r"method\.freeze is a list of layers, as \[conv1\]"),
    ],
)
def test_a_wrong_name_is_one_line_with_the_layers(network: Any, names: Any, through: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        freeze_layers(network, names, through)
    assert "\n" not in str(error.value)


def test_through_needs_a_sequence(network: Any) -> None:
    network.trunk = nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 3)})
    with pytest.raises(ValueError, match=r"method\.freeze_through=conv1 needs a trunk that is a sequence.*ModuleDict"):
        freeze_layers(network, [], "conv1")


def scenes() -> Shapes:
    return Shapes(num_train=30, num_test=10, image_size=(32, 40), batch_size=4, val_fraction=0.2, num_workers=0)


def test_training_changes_no_bit_of_them_and_something_of_all_others(trainer: Any) -> None:
    network = small(10)
    before = copy.deepcopy(network.state_dict())
    module = Classification(
        network, SGD, None, 0.05, freeze_through="inception3a", freeze=["trunk.inception4a.branch1"]
    )
    fitting = trainer(max_epochs=2)
    fitting.fit(module, datamodule=scenes())
    held = {id(each) for group in fitting.optimizers[0].param_groups for each in group["params"]}
    parameters = dict(network.named_parameters())
    first = ("trunk.conv", "trunk.inception3a.", "trunk.inception4a.branch1.")
    rested = [name for name in before if name.startswith(first)]
    assert len(rested) > 40
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) == (name in rested), name
        if name in parameters:
            assert (id(parameters[name]) in held) == (name not in rested)
            assert parameters[name].grad is None or name not in rested


def test_a_run_that_goes_on_ends_bit_for_bit_the_same(trainer: Any, tmp_path: Path) -> None:
    def fit(epochs: int, seed: int, checkpoint: Path | None = None) -> Any:
        torch.manual_seed(seed)
        module = Classification(small(10), SGD, constant, 0.05, freeze_through="conv3")
        data = scenes()
        data.resumed_at = (0, 0) if checkpoint is None else (1, 0)
        fitting = trainer(max_epochs=epochs)
        fitting.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return fitting, module.network.state_dict()

    _, whole = fit(2, seed=0)
    half, halfway = fit(1, seed=0)
    half.save_checkpoint(tmp_path / "half.ckpt")
    _, resumed = fit(2, seed=1, checkpoint=tmp_path / "half.ckpt")
    assert not torch.equal(halfway["classifier.weight"], whole["classifier.weight"])
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_they_rest_in_every_mode(network: Any) -> None:
    module = Classification(network, SGD, None, 0.05, freeze_through="conv3")
    for mode in (True, False, True):
        module.train(mode)
        assert not network.trunk.conv3.bn.training
        assert network.trunk.inception3a.branch1.bn.training == mode


def test_without_frozen_layers_nothing_is_touched(network: Any) -> None:
    network.eval()
    module = Classification(network, SGD, None, 0.05)
    assert module.frozen == []
    assert not network.training
