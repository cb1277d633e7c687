"""Background activation suppression against plain loops and the released loss; its network."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy_batch import batch_of, waves

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import average_onto_grid
from cam_lightning.backbone.resnet50_gap import resnet50_gap
from cam_lightning.backbone.vgg16_gap import vgg16_gap
from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.method.bas import BackgroundSuppression, Bas
from cam_lightning.method.schedule import constant

CLASSES = 4


def make(network: nn.Module, **options: Any) -> Bas:
    return Bas(network, torch.optim.SGD, constant, learning_rate=0.1, **options)


@pytest.fixture
def network() -> BackgroundSuppression:
    torch.manual_seed(0)
    return BackgroundSuppression(googlenet_gap(CLASSES, width=0.125, units=16), units=8)


def test_the_losses_equal_their_equations_image_by_image(network: BackgroundSuppression, images: Tensor) -> None:
    labels = [1, 3, 0]
    network = network.eval()  # running statistics, so that images do not see each other
    expected = dict.fromkeys(("classification", "foreground", "background", "area"), 0.0)
    suppressed = 0
    with torch.no_grad():
        loss = make(network, foreground_weight=0.3, area_weight=0.8).loss(network(images), batch_of(images, labels))
        for image, label in zip(images, labels, strict=True):
            features = network.trunk(image[None])
            coverage = network.localizer(features)[0, label].sigmoid()
            class_maps = network.classifier(network.rest(features))[0].clamp(min=0)
            logits = torch.stack([each.mean() for each in class_maps])
            h, w = coverage.shape
            assert (h, w) == (2 * class_maps.shape[1], 2 * class_maps.shape[2])
            smaller = torch.tensor([[float(coverage[y : y + 2, x : x + 2].mean()) for x in range(0, w, 2)]
                                    for y in range(0, h, 2)])  # fmt: skip
            inside = torch.stack([(each * smaller).mean() for each in class_maps])
            outside = network.classifier(network.rest(features * (1 - coverage)))[0].clamp(min=0).mean((1, 2))
            expected["classification"] -= float(logits.log_softmax(0)[label]) / 3
            expected["foreground"] -= 0.3 * float(inside.log_softmax(0)[label]) / 3
            if outside[label] < logits[label]:
                expected["background"] += float(outside[label] / (logits[label] + 1e-8)) / 3
                suppressed += 1
            expected["area"] += 0.8 * float(coverage.mean()) / 3
    assert suppressed > 0
    for name, value in expected.items():
        assert float(loss.parts[name]) == pytest.approx(value, rel=1e-4), name
    assert float(loss.total) == pytest.approx(sum(expected.values()), rel=1e-4)


def test_suppression_and_area_equal_the_released_loss(network: BackgroundSuppression) -> None:
    """`bas_loss` of wpy1999/BAS, CUB/Model/vgg.py, computed once: scores 2, 1, 0.5, 0 with and 0.4, 1.3, 0.5, 0 without
    the map, whose weight there is 0.7."""
    coverage = waves((4, 1, 6, 8), 0.57, 1.1, 2).sigmoid()
    scores, left = torch.tensor([[2.0], [1.0], [0.5], [0.0]]), torch.tensor([[0.4], [1.3], [0.5], [0.0]])
    more = {"coverage_BChw": coverage, "map_BChw": torch.zeros(4, 1, 3, 4)}
    network.score_outside = lambda features, map_: left  # type: ignore[method-assign]
    method = make(network, area_weight=0.7)
    batch = batch_of(torch.zeros(4, 3, 64, 64), [0, 0, 0, 0])
    loss = method.loss(ClassifierOutput(scores, torch.zeros(4, 1, 6, 8), more), batch)
    assert float(loss.parts["background"] + loss.parts["area"]) == pytest.approx(0.404306889, rel=1e-6)


def test_erasing_teaches_the_map_alone_and_leaves_running_statistics(
    network: BackgroundSuppression, images: Tensor
) -> None:
    network = network.train()
    output = network(images)
    before = copy.deepcopy(dict(network.named_buffers()))
    map_ = output.more["coverage_BChw"][:, :1]
    assert len(before) > 0
    network.score_outside(output.features_BKhw, map_).sum().backward(retain_graph=True)
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert network.localizer.weight.grad is not None
    assert all(parameter.grad is None for parameter in network.classifier.parameters())
    assert all(parameter.grad is None for parameter in network.rest.parameters())
    network.zero_grad()
    make(network).loss(output, batch_of(images, [1, 3, 0])).total.backward()
    assert all(parameter.grad is not None for parameter in network.parameters()), "else DDP would refuse"


def test_the_split_network_is_the_network(images: Tensor) -> None:
    """The same layers in the same order: what reaches the head is what the whole trunk gives."""
    torch.manual_seed(0)
    base = googlenet_gap(CLASSES, width=0.125, units=16).eval()
    with torch.no_grad():
        expected = base.trunk(images)
        for layer in (None, "inception4a", "cam_relu"):
            network = BackgroundSuppression(copy.deepcopy(base), layer=layer, units=8).eval()
            features = network.forward_features(images)
            torch.testing.assert_close(network.rest(features), expected)
            maps = network.class_maps(network(images), torch.tensor([[0, 3]] * 3))
            assert maps is not None
            assert maps.shape[2:] == features.shape[2:]
            torch.testing.assert_close(maps[:, 1], network.localizer(features)[:, 3].sigmoid())


def test_it_is_a_network_like_any_other(network: BackgroundSuppression, images: Tensor) -> None:
    network = network.eval()
    assert isinstance(network, Network)
    with torch.no_grad():
        whole, part = network(images), network.select_classes([3, 1])(images)
        maps = network.class_maps(whole, torch.tensor([[3, 1]] * 3))
        selected = network.select_classes([3, 1]).class_maps(part, torch.tensor([[0, 1]] * 3))
    torch.testing.assert_close(part.logits_BC, whole.logits_BC[:, [3, 1]])
    torch.testing.assert_close(maps, selected)


def test_it_splits_where_published_and_where_told() -> None:
    with torch.device("meta"):
        assert BackgroundSuppression(vgg16_gap(3)).localizer.in_channels == 512
        assert "23" in dict(BackgroundSuppression(vgg16_gap(3)).rest.named_children())
        assert BackgroundSuppression(resnet50_gap(3), layer="layer3").localizer.in_channels == 1024
    base = googlenet_gap(CLASSES, width=0.125, units=16)
    with pytest.raises(ValueError, match="layer=conv9 is no layer of the trunk, which has conv1"):
        BackgroundSuppression(base, layer="conv9")
    with pytest.raises(ValueError, match="at least 1"):
        BackgroundSuppression(base, units=0)
    with pytest.raises(ValueError, match="needs a network of a trunk and a head; Linear is none"):
        BackgroundSuppression(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="area_weight is at least 0; got -1"):
        make(base, area_weight=-1)


def test_new_layers_follow_where_the_split_puts_them() -> None:
    base = googlenet_gap(CLASSES, width=0.125, units=16)
    assert BackgroundSuppression(base, units=8).new_layers == ()
    base.is_loaded, base.new_layers = True, ("trunk.conv1.0", "trunk.cam_conv.conv", "classifier")
    network = BackgroundSuppression(base, units=8)
    assert network.new_layers == ("trunk.conv1.0", "rest.cam_conv.conv", "classifier", "localizer")


def test_averages_onto_a_grid_as_adaptive_pooling_does() -> None:
    maps = torch.randn(2, 3, 7, 10, generator=torch.Generator().manual_seed(0))
    for grid in ((3, 4), (7, 10), (1, 1), (9, 13)):
        torch.testing.assert_close(average_onto_grid(maps, grid), F.adaptive_avg_pool2d(maps, grid))
