"""The class-agnostic map's contrast against plain loops and the released losses; its network."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_batch import batch_of, waves

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.contracts import Network
from cam_lightning.method.c2am import C2am, ClassAgnosticMap, alike, border_share, cosines, parted
from cam_lightning.method.schedule import constant

CLASSES = 4
FEATURES = (waves((4, 5, 3, 4), 0.83, 0.3) + 0.6).clamp(min=0)
MAP = waves((4, 1, 3, 4), 0.57, 1.1, 2).sigmoid()


def make(network: nn.Module, **options: Any) -> C2am:
    return C2am(network, torch.optim.SGD, constant, learning_rate=0.1, **options)


@pytest.fixture
def network() -> ClassAgnosticMap:
    torch.manual_seed(0)
    return ClassAgnosticMap(googlenet_gap(CLASSES, width=0.125, units=16))


def slow_cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return min(max(dot / lengths, 0.0005), 0.9995)


def slow_losses(features: Tensor, maps: Tensor, alpha: float) -> tuple[float, float, float]:
    """Background, foreground, apart."""
    B, K, h, w = features.shape
    fore = [[sum(float(features[b, k, y, x] * maps[b, 0, y, x]) for y in range(h) for x in range(w)) / (h * w)
             for k in range(K)] for b in range(B)]  # fmt: skip
    back = [[float(features[b, k].mean()) - fore[b][k] for k in range(K)] for b in range(B)]

    def alike_(rows: list[list[float]]) -> float:
        total = 0.0
        for i in range(B):
            cosine = [slow_cosine(rows[i], rows[j]) for j in range(B)]
            order = sorted(range(B), key=lambda j: (-cosine[j], j))
            total += sum(-math.log(cosine[j]) * math.exp(-alpha * (order.index(j) - 1)) for j in range(B))
        return total / B**2

    apart = sum(-math.log(1 - slow_cosine(b, f)) for b in back for f in fore) / B**2
    return alike_(back), alike_(fore), apart


@pytest.mark.parametrize(
    ("alpha", "released"),
    [
        # Background, foreground, apart: SimMaxLoss and SimMinLoss of CVI-SZU/CCAM, WSOL/models, computed once.
        (0.25, (0.014383573, 0.042821255, 2.778169632)),
        (0.05, (0.018180637, 0.056228235, 2.778169632)),
    ],
)
def test_the_contrasts_equal_plain_loops_and_the_released_ones(alpha: float, released: tuple[float, ...]) -> None:
    fore, back = parted(FEATURES, MAP)
    losses = [float(value) for value in (alike(back, alpha), alike(fore, alpha),
                                         -torch.log(1 - cosines(back, fore)).mean())]  # fmt: skip
    assert losses == pytest.approx(released, rel=1e-5)
    assert losses == pytest.approx(slow_losses(FEATURES, MAP, alpha), rel=1e-4)


def test_the_map_is_the_released_disentangler(network: ClassAgnosticMap) -> None:
    """Its first six cells and the parts of the first image, computed once from CVI-SZU/CCAM, WSOL/models/model.py."""
    head = network.foreground.train()
    head[0] = nn.Conv2d(5, 1, 3, padding=1, bias=False)
    head[0].weight.data = waves((1, 5, 3, 3), 0.31, 0.2)
    with torch.no_grad():
        map_ = head(FEATURES)
        fore, back = parted(FEATURES, map_)
    assert map_[0].flatten()[:6].tolist() == pytest.approx(
        [0.391684, 0.535787, 0.777504, 0.770848, 0.417697, 0.459397], abs=2e-6)  # fmt: skip
    assert fore[0].tolist() == pytest.approx([0.464554, 0.213165, 0.384881, 0.323927, 0.249215], abs=2e-6)
    assert back[0].tolist() == pytest.approx([0.383204, 0.330189, 0.352136, 0.388648, 0.319095], abs=2e-6)


def test_the_loss_is_cross_entropy_and_the_weighed_contrasts(network: ClassAgnosticMap, images: Tensor) -> None:
    labels = [1, 3, 0]
    output = network.train()(images)
    loss = make(network, alpha=0.1, contrast_weight=0.4).loss(output, batch_of(images, labels))
    expected = slow_losses(output.features_BKhw.detach(), output.more["map_B1hw"].detach(), 0.1)
    for name, value in zip(("background", "foreground", "apart"), expected, strict=True):
        assert float(loss.parts[name]) == pytest.approx(0.4 * value, rel=1e-3), name
    entropy = -sum(float(logits.log_softmax(0)[c]) for logits, c in zip(output.logits_BC.detach(), labels, strict=True))
    assert float(loss.parts["classification"]) == pytest.approx(entropy / 3, rel=1e-5)
    assert float(loss.total) == pytest.approx(entropy / 3 + 0.4 * sum(expected), rel=1e-3)
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in network.parameters()), "else DDP would refuse"


def test_the_contrast_parts_two_kinds_of_cells(network: ClassAgnosticMap) -> None:
    """Objects of one kind within backgrounds of another, at different places: the map learns which cells are whose."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.rand(2, 8, generator=generator)
    object_B1hw = torch.zeros(6, 1, 7, 9)
    for b in range(6):
        object_B1hw[b, :, 1 + b % 3 : 4 + b % 3, 2 + b % 4 : 5 + b % 4] = 1
    features = kinds[0].view(1, 8, 1, 1) * object_B1hw + kinds[1].view(1, 8, 1, 1) * (1 - object_B1hw)
    features = features + 0.05 * torch.rand(features.shape, generator=generator)
    optimizer = torch.optim.SGD(network.foreground.parameters(), 0.5, momentum=0.9)
    network.train()
    for _ in range(60):
        fore, back = parted(features, network.forward_head(features).more["map_B1hw"])
        optimizer.zero_grad()
        (alike(fore, 0.25) + alike(back, 0.25) - torch.log(1 - cosines(back, fore)).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        maps = network.eval().class_maps(network.forward_head(features), torch.zeros(6, 1, dtype=torch.int64))
    assert maps is not None
    inside, outside = maps[object_B1hw.bool()], maps[~object_B1hw.bool()]
    assert float(inside.mean()) > float(outside.mean()) + 0.3, "and the object's side is up"


def test_mixed_precision_leaves_the_contrast_in_float32(network: ClassAgnosticMap, images: Tensor) -> None:
    batch = batch_of(images, [1, 3, 0])
    output = network.train()(images)
    method = make(network)
    expected = method.loss(output, batch)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = method.loss(output, batch)
    for name, value in expected.parts.items():
        assert torch.equal(mixed.parts[name], value), name


def test_what_lies_at_the_borders_is_background(network: ClassAgnosticMap, images: Tensor) -> None:
    inside = torch.zeros(2, 1, 4, 5)
    inside[:, :, 1:3, 1:4] = 1
    assert float(border_share(inside)) == 0
    assert float(border_share(1 - inside)) == 1
    inside[0, 0, 0, 0] = 0.6  # of the first row a fifth, of the first column a quarter, of one image in two
    assert float(border_share(inside)) == pytest.approx((1 / 5 + 1 / 4) / 2 / 4)
    before = float(network.border)
    share = float(border_share(network.train()(images).more["map_B1hw"]))
    assert float(network.border) == pytest.approx(0.9 * before + 0.1 * share)
    network = network.eval()
    with torch.no_grad():
        output = network(images)
        assert float(network.border) == pytest.approx(0.9 * before + 0.1 * share), "evaluation does not move it"
        for border, expected in ((0.4, output.more["map_B1hw"]), (0.6, 1 - output.more["map_B1hw"])):
            network.border.fill_(border)
            maps = network.class_maps(output, torch.tensor([[0, 3]] * 3))
            assert maps is not None
            assert torch.equal(maps, expected.expand(-1, 2, -1, -1))
    assert "border" in network.state_dict()


def test_it_is_a_network_like_any_other(network: ClassAgnosticMap, images: Tensor) -> None:
    network = network.eval()
    assert isinstance(network, Network)
    base = network.classifier
    with torch.no_grad():
        whole, part = network(images), network.select_classes([3, 1])(images)
        torch.testing.assert_close(whole.logits_BC, base.head(whole.features_BKhw).logits_BC)
    torch.testing.assert_close(part.logits_BC, whole.logits_BC[:, [3, 1]])
    assert (network.num_classes, network.heads) == (CLASSES, ("classifier.classifier",))


def test_other_options_are_errors_and_new_layers_are_named() -> None:
    base = googlenet_gap(CLASSES, width=0.125, units=16)
    with pytest.raises(ValueError, match="alpha is at least 0; got -1"):
        make(base, alpha=-1)
    with pytest.raises(ValueError, match="needs a network of a trunk and a head; Linear is none"):
        ClassAgnosticMap(nn.Linear(2, 2))  # type: ignore[arg-type]
    base.is_loaded, base.new_layers = True, ("trunk.cam_conv.conv", "classifier")
    assert ClassAgnosticMap(base).new_layers == ("trunk.cam_conv.conv", "classifier.classifier", "foreground")
