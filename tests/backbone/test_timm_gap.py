"""timm's trunks: three families train and keep the head's identity; what cannot be used is named."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from cam_lightning.backbone.timm_gap import timm_gap
from cam_lightning.backbone.weights import load_weights

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
CLASSES = 4


@needs_timm
@pytest.mark.parametrize("trunk", ["resnet18", "convnext_atto", "efficientnet_b0"])
def test_three_families_train_and_keep_the_identity(trunk: str) -> None:
    torch.manual_seed(0)
    network = timm_gap(CLASSES, trunk)
    images, labels = torch.randn(4, 3, 64, 96), torch.arange(4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(6):
        loss = F.cross_entropy(network(images).logits_BC, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None for parameter in network.parameters())

    with torch.no_grad():
        logits, features, _ = network.eval()(images)
    assert features.shape[2:] == (2, 3)
    maps = torch.einsum("ck,bkhw->bchw", network.classifier.weight, features)
    expected = maps.mean((2, 3)) + network.classifier.bias
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
    torch.testing.assert_close(network.select_classes([2, 0])(images).logits_BC, logits[:, [2, 0]])


@needs_timm
@pytest.mark.parametrize(
    ("trunk", "kept"),
    [
        ("resnet18", True),
        ("efficientnet_b0", True),
        ("regnety_002", True),
        ("convnext_atto", False),  # normalises between pooling and linear layer
        ("mobilenetv3_small_050", False),  # another layer between them
    ],
)
def test_the_models_own_classifier_is_kept_where_it_reads_the_average(trunk: str, kept: bool) -> None:
    import timm

    torch.manual_seed(0)
    model = timm.create_model(trunk, pretrained=False, num_classes=CLASSES).eval()
    network = timm_gap(CLASSES, trunk).eval()
    network.published = network.published._replace(imagenet=model.state_dict)
    load_weights(network, "imagenet")
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        output, expected = network(images), model(images)
        torch.testing.assert_close(output.features_BKhw, model.forward_features(images))
    assert network.new_layers == (() if kept else ("classifier",))
    if kept:
        torch.testing.assert_close(output.logits_BC, expected, rtol=1e-4, atol=1e-5)


@needs_timm
def test_input_statistics_are_the_models_own() -> None:
    assert timm_gap(CLASSES, "xception41").normalization.mean == (0.5, 0.5, 0.5)


@needs_timm
def test_an_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(ValueError, match=r"timm has no model 'resnet19'; close: .*resnet1\d"):
        timm_gap(CLASSES, "resnet19")


@needs_timm
def test_the_smallest_image_is_found_where_convolutions_do_not_pad() -> None:
    """Inception-v3 takes 75 pixels and more, found in steps of its map's stride."""
    network = timm_gap(CLASSES, "inception_v3").eval()
    stride = -(-299 // 8)
    assert 75 <= network.min_size < 75 + stride
    with torch.no_grad():
        assert network(torch.zeros(1, 3, network.min_size, network.min_size)).logits_BC.isfinite().all()


@needs_timm
def test_a_failed_download_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    create_model = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise FileNotFoundError("cannot reach the hub")
        return create_model(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(OSError, match=r"resnet18 \(cannot reach the hub\).*backbone\.weights=FILE"):
        timm_gap(CLASSES, "resnet18", weights="imagenet")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install timm"):
        timm_gap(CLASSES, "resnet18")


@needs_timm
@pytest.mark.parametrize("trunk", ["skresnet18", "resnest14d"])
def test_a_norm_that_wants_several_values_in_training_is_probed(trunk: str) -> None:
    """It stands behind a pooling to one cell: one image, in training mode, is an error there."""
    network = timm_gap(CLASSES, trunk)
    assert network.training
    assert network.eval()(torch.zeros(1, 3, 64, 96)).features_BKhw.shape[2:] == (2, 3)
    loss = network.train()(torch.randn(2, 3, 64, 96)).logits_BC.sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@needs_timm
@pytest.mark.parametrize(
    ("trunk", "said"),
    [
        ("resnet18.foo", "timm has no weights 'foo' of resnet18: it publishes .*a1_in1k"),
        ("resnet18.tv_in1k.", "timm has no weights 'tv_in1k.' of resnet18"),
        (5, "timm has no model 5"),
    ],
)
def test_a_tag_or_name_that_there_is_not_is_named(trunk: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        timm_gap(CLASSES, trunk)
    assert "\n" not in str(error.value)


@needs_timm
def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(ValueError, match="imagenet: timm publishes no weights of skresnet50"):
        timm_gap(CLASSES, "skresnet50", weights="imagenet")
