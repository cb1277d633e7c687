"""The attention-based dropout layer against a plain loop, and against what the benchmark's code gives."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.method.adl import AttentionDropout, with_attention_dropout
from cam_lightning.method.freeze import freeze_layers

FEATURES = (torch.arange(2 * 3 * 2 * 4).float().mul(0.7).sin() + 0.3).view(2, 3, 2, 4)


def through(features: Tensor, drop_rate: float, threshold: float = 0.8) -> Tensor:
    layer = nn.Identity()
    layer.register_forward_hook(AttentionDropout(drop_rate, threshold))
    return layer(features)


@pytest.mark.parametrize("drops", [False, True])
def test_both_maps_equal_a_plain_loop(drops: bool) -> None:
    features = torch.randn(3, 5, 4, 7, generator=torch.Generator().manual_seed(0)) + 0.5
    seen = through(features, drop_rate=float(drops), threshold=0.6)
    touched = 0
    for b in range(3):
        attention = [[sum(features[b, :, y, x].tolist()) / 5 for x in range(7)] for y in range(4)]
        highest = max(map(max, attention))
        for y in range(4):
            for x in range(7):
                mean = attention[y][x]
                factor = float(mean < 0.6 * highest) if drops else 1 / (1 + math.exp(-mean))
                touched += factor == 0
                torch.testing.assert_close(seen[b, :, y, x], features[b, :, y, x] * factor)
    assert touched > 0 or not drops


@pytest.mark.parametrize(
    ("drop_rate", "expected"),
    [
        # Sums over the units, computed once from clovaai/wsolevaluation, method/adl.py.
        (0.0, [-0.313357, 0.54493, 1.809388, 2.592181, 2.267891, 1.095416, -0.017366, -0.524002,
               -0.056021, -0.535079, -0.586444, -0.273552, 0.630391, 1.893545, 2.608171, 2.203037]),
        (1.0, [-0.710444, 0.942894, 2.576059, 0.0, 0.0, 1.714063, -0.034936, -1.34422,
               -0.114216, -1.38374, -1.579187, -0.608631, 1.071455, 2.670905, 0.0, 0.0]),
    ],
)  # fmt: skip
def test_both_maps_equal_the_benchmark(drop_rate: float, expected: list[float]) -> None:
    assert through(FEATURES, drop_rate).sum(1).flatten().tolist() == pytest.approx(expected, abs=2e-6)


def test_one_draw_for_a_batch_as_often_as_told() -> None:
    torch.manual_seed(0)
    draws = [bool((through(FEATURES, 0.75)[0] == 0).any()) for _ in range(400)]
    assert 270 < sum(draws) < 330
    assert all(bool((seen[0] == 0).any()) == bool((seen[1] == 0).any())
               for seen in (through(FEATURES, 0.5) for _ in range(50)))  # fmt: skip


def test_the_importance_map_is_differentiated_and_the_drop_mask_not() -> None:
    for drop_rate in (0.0, 1.0):
        features = FEATURES.clone().double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, rate=drop_rate: through(x.float(), rate).double(), features,
                                        eps=1e-3, atol=1e-2)  # fmt: skip


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    return googlenet_gap(4, width=0.125, units=16)


def test_it_lies_behind_the_layers_that_are_named_and_sleeps_in_evaluation(network: Any) -> None:
    before, names = copy.deepcopy(network), list(network.state_dict())
    changed = with_attention_dropout(network, ["inception4a", "cam_relu"], drop_rate=1.0)
    assert list(changed.state_dict()) == names
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(changed.eval()(images).logits_BC, before.eval()(images).logits_BC)
        changed.train()
        before.train()
        given: list[Tensor] = []
        before.trunk.inception4a.register_forward_hook(lambda *seen: given.append(through(seen[2], 1.0)) or given[-1])
        before.trunk.cam_relu.register_forward_hook(lambda *seen: given.append(through(seen[2], 1.0)) or given[-1])
        torch.manual_seed(2)
        seen = changed(images).features_BKhw
        torch.manual_seed(2)
        torch.testing.assert_close(seen, before(images).features_BKhw)
    assert len(given) == 2
    assert (seen.sum(1) == 0).any()


def test_it_works_behind_a_frozen_layer_too(network: Any) -> None:
    """Which is in eval mode whenever the network is trained: without this, ADL would be plain classification."""
    changed = with_attention_dropout(network, ["conv3"], drop_rate=1.0)
    (frozen,) = freeze_layers(changed, ["conv3"], None)
    given: list[Tensor] = []
    changed.trunk.conv3.register_forward_hook(lambda *seen: given.append(seen[2]))
    for training in (True, False):
        changed.train(training)
        frozen.eval()
        changed(torch.randn(2, 3, 64, 96))
    assert [bool((seen.sum(1) == 0).any()) for seen in given] == [True, False]


def test_it_works_behind_a_trunk_that_is_frozen_whole_and_with_some_classes_selected(network: Any) -> None:
    """Whatever the rest learns from is dropped; the selected network's mode is its own."""
    changed = with_attention_dropout(network, drop_rate=1.0)
    (trunk,) = freeze_layers(changed, ["trunk"], None)
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    for seen_by in (changed, changed.select_classes([2, 0])):
        for training in (True, False):
            seen_by.train(training)
            trunk.eval()
            assert bool((seen_by(images).features_BKhw.sum(1) == 0).any()) == training


def test_behind_the_trunk_by_itself_and_it_can_be_copied(network: Any) -> None:
    twin = pickle.loads(pickle.dumps(copy.deepcopy(with_attention_dropout(network, drop_rate=1.0))))
    features = twin.train()(torch.randn(2, 3, 64, 96)).features_BKhw
    assert (features.sum(1) == 0).any(), "features of ReLU are 0 in all units only where they were dropped"


def test_other_options_are_errors(network: Any) -> None:
    for wrong, message in (
        ({"layers": ["conv9"]}, "conv9 is no layer of the trunk, which has conv1, "),
        ({"drop_rate": 1.1}, r"drop_rate is a share in \[0, 1\]; got 1.1"),
        ({"threshold": -1}, "threshold is a share"),
    ):
        with pytest.raises(ValueError, match=message):
            with_attention_dropout(network, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a network of a trunk and a head; Linear is none"):
        with_attention_dropout(nn.Linear(2, 2))  # type: ignore[arg-type]
