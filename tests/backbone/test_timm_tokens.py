"""timm's models of tokens: their patch tokens are a map, in place, of any fitting size; and as published."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.timm_gap import timm_gap
from cam_lightning.backbone.weights import load_weights
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.contracts import NoClassMapError

timm: Any = pytest.importorskip("timm")

CLASSES = 3
WITH_PATCHES = {
    "vit_tiny_patch16_224": 16,
    "deit_tiny_patch16_224": 16,
    "swin_tiny_patch4_window7_224": 32,
    "convnext_atto": 32,
    "vit_small_patch14_dinov2": 14,
    "vit_xsmall_patch16_clip_224": 16,
    "test_vit2": 16,  # a register token, no class token, its norm behind the pooling
}


@cache
def built(trunk: str, head: str = "mean") -> TrunkNetwork:
    torch.manual_seed(0)
    network = timm_gap(CLASSES, trunk, head=head).eval()
    nn.init.normal_(network.get_submodule("classifier").bias)  # type: ignore[arg-type]
    return network


def images(*size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize(("trunk", "patch"), WITH_PATCHES.items())
def test_mean_of_the_map_and_bias_are_the_logit(trunk: str, patch: int) -> None:
    """Of two sizes, neither square nor the published one."""
    network = built(trunk)
    classes_BT = torch.tensor([[0, 2], [1, 1]])
    for h, w in ((2, 3), (4, 3)):
        output = network(images(h * patch, w * patch))
        map_BThw = ClassActivationMap()(network, images(h * patch, w * patch), output, classes_BT)
        assert map_BThw.shape == (2, 2, h, w)
        bias_BT = network.get_submodule("classifier").bias[classes_BT]  # type: ignore[index]
        torch.testing.assert_close(map_BThw.mean((2, 3)) + bias_BT, output.logits_BC.gather(1, classes_BT))
        assert map_BThw.std((2, 3)).min() > 1e-4, "cells differ"
    assert network.min_size == patch


@torch.no_grad()
@pytest.mark.parametrize(
    "trunk", [*(name for name in WITH_PATCHES if "convnext" not in name), "vit_small_patch14_reg4_dinov2"]
)
def test_every_cell_is_its_own_token(trunk: str) -> None:
    """Row by row behind the tokens that lie nowhere, each behind the model's last norm."""
    network = built(trunk)
    patch = WITH_PATCHES.get(trunk, 14)
    image = images(2 * patch, 3 * patch, count=1)
    model: Any = network.trunk.model
    tokens = model.forward_features(image)
    if trunk == "test_vit2":
        tokens = model.fc_norm(tokens)
    if tokens.ndim == 3:
        prefix = tokens.shape[1] - 6
        assert prefix == {"vit_small_patch14_reg4_dinov2": 5}.get(trunk, 1)
        tokens = tokens[:, prefix:].reshape(1, 2, 3, -1)
    features = network.forward_features(image)
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(features[0, :, row, column], tokens[0, row, column])


@torch.no_grad()
@pytest.mark.parametrize("trunk", ["test_vit", "test_vit2"])
def test_position_embeddings_are_resampled_as_timm_does_for_a_model_of_that_size(trunk: str) -> None:
    from timm.models.vision_transformer import checkpoint_filter_fn

    network = built(trunk)
    state = network.trunk.model.state_dict()  # type: ignore[union-attr]
    of_that_size = timm.create_model(trunk, img_size=(32, 80), num_classes=0, dynamic_img_size=False).eval()
    assert of_that_size.pos_embed.shape != state["pos_embed"].shape
    of_that_size.load_state_dict(checkpoint_filter_fn(dict(state), of_that_size))
    expected = of_that_size.forward_intermediates(images(32, 80), indices=1, norm=True, intermediates_only=True)[0]
    if trunk == "test_vit2":
        expected = of_that_size.fc_norm(expected.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(network.forward_features(images(32, 80)), expected)


@torch.no_grad()
@pytest.mark.parametrize(
    ("trunk", "size"),
    [
        ("test_vit", (160, 160)),  # the class token
        ("test_vit2", (160, 160)),  # a mean that is normalised
        ("test_vit3", (160, 160)),  # attention pooling
        ("convnext_atto", (64, 96)),  # a map, pooled and normalised
        ("efficientnet_b0", (64, 96)),
    ],
)
def test_as_published_it_says_what_timm_says(trunk: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = timm.create_model(trunk, num_classes=CLASSES).eval()
    network = timm_gap(CLASSES, trunk, head="published").eval()
    network.published = network.published._replace(imagenet=model.state_dict)
    load_weights(network, "imagenet")
    assert network.new_layers == ()
    torch.testing.assert_close(network(images(*size)).logits_BC, model(images(*size)), rtol=1e-4, atol=1e-5)
    few = network.select_classes([2, 0])
    torch.testing.assert_close(few(images(*size)).logits_BC, network(images(*size)).logits_BC[:, [2, 0]])


@torch.no_grad()
@pytest.mark.parametrize("trunk", ["swin_tiny_patch4_window7_224", "mixer_s32_224"])
def test_a_classifier_of_averaged_tokens_is_kept(trunk: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(trunk, num_classes=CLASSES).eval()
    network = timm_gap(CLASSES, trunk).eval()
    network.published = network.published._replace(imagenet=model.state_dict)
    load_weights(network, "imagenet", new_head=False)
    image = images(224, 224, count=1)
    torch.testing.assert_close(network(image).logits_BC, model(image), rtol=1e-4, atol=1e-5)


def test_weights_by_file_are_timms_own_names(tmp_path: Any) -> None:
    """Of a model of 1000 classes: everything but the linear layer."""
    torch.manual_seed(3)
    model = timm.create_model("test_vit")
    torch.save(model.state_dict(), tmp_path / "file.pth")
    network = timm_gap(CLASSES, "test_vit", weights=str(tmp_path / "file.pth"))
    assert network.new_layers == ("classifier",)
    assert torch.equal(network.get_parameter("trunk.model.blocks.5.mlp.fc2.weight"), model.blocks[5].mlp.fc2.weight)
    assert torch.equal(network.get_parameter("trunk.model.pos_embed"), model.pos_embed)


def test_a_file_of_safetensors_is_read_as_torchs_own(tmp_path: Any) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(3)
    model = timm.create_model("test_vit")
    torch.save(model.state_dict(), tmp_path / "file.pth")
    safetensors.save_file(model.state_dict(), tmp_path / "file.safetensors")
    networks = [
        timm_gap(CLASSES, "test_vit", weights=str(tmp_path / f"file.{kind}")) for kind in ("pth", "safetensors")
    ]
    trunks = [network.trunk.state_dict() for network in networks]
    assert len(trunks[0]) > 50
    assert all(torch.equal(value, trunks[1][name]) for name, value in trunks[0].items())


def test_a_failed_download_names_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    create_model = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise FileNotFoundError("cannot reach the hub")
        return create_model(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(OSError, match=r"huggingface\.co/timm/test_vit\.r160_in1k: .*backbone\.weights=FILE"):
        timm_gap(CLASSES, "test_vit", weights="imagenet")


@pytest.mark.parametrize("trunk", ["test_vit", "test_vit3", "swin_tiny_patch4_window7_224"])
def test_every_parameter_that_learns_has_a_gradient(trunk: str) -> None:
    """DDP refuses others."""
    torch.manual_seed(0)
    network = timm_gap(CLASSES, trunk)
    network.train()(images(64, 96)).logits_BC.square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    assert sum(p.requires_grad for p in network.parameters()) > 50


def test_input_statistics_are_the_models_own() -> None:
    assert built("vit_xsmall_patch16_clip_224").normalization.mean[0] == pytest.approx(0.48145466)
    assert built("vit_tiny_patch16_224").normalization.std == (0.5, 0.5, 0.5)


def test_a_class_token_has_no_class_activation_map_and_gradients_find_one() -> None:
    network = built("test_vit", "published")
    output = network(images(32, 48))
    with pytest.raises(NoClassMapError):
        ClassActivationMap().check(network, (32, 48))
    classes_BT = torch.tensor([[0, 2], [1, 1]])
    made = GradCam()(network, images(32, 48), output, classes_BT)
    named = GradCam("trunk.model.blocks.5.norm1")(network, images(32, 48), output, classes_BT)
    assert torch.equal(made, named)
    assert made.std((2, 3)).min() > 0
    with pytest.raises(ValueError, match=r"blocks\.5 the class token alone has a say"):
        GradCam("trunk.model.blocks.5")(network, images(32, 48), output, classes_BT)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((64, 100), "images of 64×100 do not fit test_vit, .* a multiple of 16, such as 64×96"),
        ((15, 96), "images of 15×96 are too small for this network: each side needs at least 16"),
    ],
)
def test_a_size_that_does_not_fit_is_named_beforehand(size: tuple[int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ClassActivationMap().check(built("test_vit"), size)


def test_a_model_of_one_size_takes_another_when_it_is_built_for_it() -> None:
    network = timm_gap(CLASSES, "mixer_s32_224").eval()
    with pytest.raises(
        ValueError, match=r"mixer_s32_224 takes images of 224×224 alone.*backbone\.image_size=\[256,320\]"
    ):
        network(images(256, 320))
    fitting = timm_gap(CLASSES, "mixer_s32_224", image_size=(64, 96)).eval()
    assert fitting(images(64, 96)).features_BKhw.shape[2:] == (2, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trunk": "test_vit", "head": "token"}, "backbone.head is mean or published; got 'token'"),
        ({"trunk": "test_vit", "head": "published", "pool": "max"}, "backbone.pool=max is for head=mean"),
        ({"trunk": "deit_tiny_distilled_patch16_224", "head": "published"}, "needs one linear layer at the end"),
        ({"trunk": "hiera_tiny_224"}, "hiera_tiny_224 gives no map of features.*normalization"),
        ({"trunk": "resnet18", "image_size": 64}, "resnet18 is not built for a size; leave it null"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        timm_gap(CLASSES, **options)
    assert "\n" not in str(error.value)
