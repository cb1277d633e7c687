"""Zero-shot heads: rows of text against projected tokens, by plain loops; what a background changes and what it not."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import commands
import hydra
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cam_lightning import load, localize
from cam_lightning.backbone.text_head import TextHead
from cam_lightning.backbone.text_rows import read_text_rows
from cam_lightning.backbone.timm_gap import timm_gap
from cam_lightning.build import build_data, build_network, network_for_data
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.le_grad import LeGrad
from cam_lightning.contracts import NoClassMapError
from cam_lightning.dataset.scene.scene import CLASS_NAMES
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.place import CONF, VERSION_BASE

timm: Any = pytest.importorskip("timm")

K, SPACE, PATCH, SCALE = 12, 7, 8, 5.0
NAMES = ["tench", "a dog", "cliff, drop", "lens cap"]
TRUNK = "tiny_clip_of_this_test"


def _tiny(pretrained: bool = False, **options: Any) -> Any:
    """A tower as timm builds CLIP's: a norm before the blocks, the class token's projection as its head."""
    from timm.models.vision_transformer import VisionTransformer

    del pretrained
    known = {key: value for key, value in options.items() if key in ("num_classes", "img_size", "dynamic_img_size")}
    sizes = {"img_size": 32, "num_classes": SPACE} | known
    model = VisionTransformer(patch_size=PATCH, embed_dim=K, depth=2, num_heads=2, pre_norm=True, **sizes)
    model.pretrained_cfg = _config().to_dict()
    return model


def _config() -> Any:
    from timm.models import PretrainedCfg

    return PretrainedCfg(input_size=(3, 32, 32), num_classes=SPACE, fixed_input_size=True, classifier="head")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm knows the tiny tower by its name, within these tests."""
    known = {
        "is_model": timm.is_model,
        "create_model": timm.create_model,
        "get_pretrained_cfg": timm.get_pretrained_cfg,
    }
    mine = {"is_model": lambda name: True, "create_model": lambda name, **options: _tiny(**options)}
    mine["get_pretrained_cfg"] = lambda name, **options: _config()
    for key, value in mine.items():
        monkeypatch.setattr(
            timm, key, lambda name, *, _mine=value, _own=known[key], **o: (_mine if name == TRUNK else _own)(name, **o)
        )


def rows(count: int, seed: int) -> np.ndarray:
    """Of any length: reading makes it one."""
    return np.random.default_rng(seed).normal(size=(count, SPACE)).astype(np.float32) * 3


def text_file(path: Path, background: int = 0, **other: Any) -> str:
    content = {"text_CK": rows(len(NAMES), 1), "names": np.array(NAMES), "logit_scale": np.log(SCALE)}
    content |= {"background_BK": rows(background, 2)} if background else {}
    np.savez(path, **{key: value for key, value in (content | other).items() if value is not None})
    return str(path)


@pytest.fixture
def text(tmp_path: Path) -> str:
    return text_file(tmp_path / "it's text.npz")


@pytest.fixture
def against(tmp_path: Path) -> str:
    return text_file(tmp_path / "against.npz", background=3)


def built(text: str, head: str = "mean") -> Any:
    torch.manual_seed(0)
    network = timm_gap(2, TRUNK, head=head, text=text).eval()
    torch.nn.init.normal_(network.get_parameter("projection.bias"))
    return network


def images(h: int = 2, w: int = 3) -> Tensor:
    return torch.randn(2, 3, h * PATCH, w * PATCH, generator=torch.Generator().manual_seed(1))


def unit(row: Any) -> list[float]:
    length = math.sqrt(sum(float(value) ** 2 for value in row))
    return [float(value) / length for value in row]


def own_tokens(network: Any, image_B3HW: Tensor) -> Tensor:
    """All tokens behind the tower's last norm and its projection, (B, N, SPACE), by timm's own forward alone."""
    tower = _tiny(dynamic_img_size=True).eval()
    state = network.trunk.model.state_dict()
    projection = {f"head.{key}": value for key, value in network.projection.state_dict().items()}
    tower.load_state_dict({**state, **projection})
    return tower.head(tower.forward_features(image_B3HW))


def scores_by_hand(mean: Any, text: np.ndarray) -> list[float]:
    return [SCALE * sum(a * b for a, b in zip(unit(mean), unit(row), strict=True)) for row in text]


@torch.no_grad()
@pytest.mark.parametrize(("h", "w"), [(2, 3), (5, 2)])
def test_scores_are_scaled_cosines_and_the_maps_mean(text: str, h: int, w: int) -> None:
    network = built(text)
    output = network(images(h, w))
    classes_BT = torch.tensor([[3, 0, 2], [1, 2, 0]])
    map_BThw = ClassActivationMap()(network, images(h, w), output, classes_BT)
    assert map_BThw.shape == (2, 3, h, w)
    for b, tokens in enumerate(own_tokens(network, images(h, w))[:, 1:]):
        mean = [sum(float(token[k]) for token in tokens) / (h * w) for k in range(SPACE)]
        expected = scores_by_hand(mean, rows(len(NAMES), 1))
        assert output.logits_BC[b].tolist() == pytest.approx(expected, abs=1e-4)
        length = math.sqrt(sum(value**2 for value in mean))
        for t, c in enumerate(classes_BT[b].tolist()):
            row = unit(rows(len(NAMES), 1)[c])
            cells = [SCALE * sum(float(f) * r for f, r in zip(token, row, strict=True)) / length for token in tokens]
            assert map_BThw[b, t].flatten().tolist() == pytest.approx(cells, abs=1e-4)
            assert sum(cells) / len(cells) == pytest.approx(float(output.logits_BC[b, c]), abs=1e-4)
            assert max(cells) - min(cells) > 0.01, "cells differ"


@torch.no_grad()
def test_a_background_is_in_the_softmax_and_changes_neither_ranking_nor_map(text: str, against: str) -> None:
    alone, network = built(text), built(against)
    raw_BC, logits_BC = alone(images()).logits_BC, network(images()).logits_BC
    for b, tokens in enumerate(own_tokens(network, images())[:, 1:]):
        scores = scores_by_hand(tokens.mean(0), np.concatenate([rows(len(NAMES), 1), rows(3, 2)]))
        total = sum(math.exp(score) for score in scores)
        expected = [math.log(math.exp(score) / total) for score in scores[: len(NAMES)]]
        assert logits_BC[b].tolist() == pytest.approx(expected, abs=1e-4)
    assert logits_BC.shape == raw_BC.shape
    assert (logits_BC.exp().sum(1) < 0.99).all()
    assert torch.equal(logits_BC.argsort(1), raw_BC.argsort(1))
    torch.testing.assert_close(logits_BC.softmax(1), raw_BC.softmax(1))
    classes_BT = torch.tensor([[0, 1], [2, 3]])
    maps = [net.class_maps(net(images()), classes_BT) for net in (alone, network)]
    torch.testing.assert_close(*maps)


def test_gradients_see_the_background(text: str, against: str) -> None:
    """Grad-CAM of a score is its map over the number of cells; of a log-probability its rivals' are taken off."""
    alone, network = built(text), built(against)
    classes_BT = torch.tensor([[0], [2]])
    made = [GradCam()(net, images(), net(images()), classes_BT) for net in (alone, network)]
    with torch.no_grad():
        features = alone(images()).features_BKhw
        torch.testing.assert_close(made[0], alone.class_maps(alone(images()), classes_BT) / 6)
        all_RK = SCALE * torch.tensor([unit(row) for row in np.concatenate([rows(len(NAMES), 1), rows(3, 2)])])
        maps_BRhw = torch.einsum("rk,bkhw->brhw", all_RK, features)
        share_BR11 = maps_BRhw.mean((2, 3), keepdim=True).softmax(1)
        own_B1hw = maps_BRhw[[0, 1], classes_BT[:, 0]][:, None]
        expected = (own_B1hw - (share_BR11 * maps_BRhw).sum(1, keepdim=True)) / 6
    torch.testing.assert_close(made[1], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(made[0], made[1], atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("head", ["mean", "published"])
def test_selected_classes_keep_their_logits_and_names(against: str, head: str) -> None:
    network = built(against, head)
    whole = network(images()).logits_BC
    few = network.select_classes([3, 0])
    one = few.select_classes([1])
    torch.testing.assert_close(few(images()).logits_BC, whole[:, [3, 0]])
    torch.testing.assert_close(one(images()).logits_BC, whole[:, [0]])
    assert (few.output_names, one.output_names, network.output_names) == ([NAMES[3], NAMES[0]], [NAMES[0]], NAMES)
    torch.testing.assert_close(network(images()).logits_BC, whole)


@torch.no_grad()
def test_as_published_the_class_token_is_compared(text: str) -> None:
    network = built(text, "published")
    output = network(images())
    for b, tokens in enumerate(own_tokens(network, images())):
        assert output.logits_BC[b].tolist() == pytest.approx(scores_by_hand(tokens[0], rows(4, 1)), abs=1e-4)
    with pytest.raises(NoClassMapError):
        ClassActivationMap().check(network, (16, 24))
    assert network.map_layer == "trunk.model.blocks.1.norm1"


@pytest.mark.parametrize("head", ["mean", "published"])
def test_maps_from_attention_read_the_projected_head(text: str, head: str) -> None:
    network = built(text, head)
    made = LeGrad()(network, images(), network(images()), torch.tensor([[0, 2], [1, 3]]))
    assert made.shape == (2, 2, 2, 3)
    assert not torch.allclose(made[:, 0], made[:, 1])


def test_the_towers_own_weights_and_projection_are_loaded(text: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    tower = _tiny().eval()
    torch.save(tower.state_dict(), tmp_path / "tower.pth")
    network = timm_gap(
        2, TRUNK, head="published", text=text, weights=str(tmp_path / "tower.pth"), new_head=False
    ).eval()
    assert (network.new_layers, network.num_classes) == ((), len(NAMES))
    with torch.no_grad():
        image = torch.randn(2, 3, 32, 32)
        embedding = tower(image)
        cosine = torch.nn.functional.cosine_similarity(embedding[:, None], torch.tensor(rows(4, 1))[None], dim=2)
        torch.testing.assert_close(network(image).logits_BC, SCALE * cosine, rtol=1e-4, atol=1e-5)
    torch.save({key: value for key, value in tower.state_dict().items() if "head" not in key}, tmp_path / "less.pth")
    with pytest.raises(ValueError, match=r"less\.pth does not cover projection, which would stay at random"):
        timm_gap(2, TRUNK, text=text, weights=str(tmp_path / "less.pth"))


def test_every_kind_of_file_says_the_same(tmp_path: Path, against: str) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    tensors = {"text_CK": torch.tensor(rows(4, 1)), "background_BK": torch.tensor(rows(3, 2))}
    tensors["logit_scale"] = torch.tensor(math.log(SCALE))
    torch.save({**tensors, "names": NAMES}, tmp_path / "text.pt")
    safetensors.save_file(tensors, tmp_path / "text.safetensors", metadata={"names": json.dumps(NAMES)})
    expected = read_text_rows(against)
    torch.testing.assert_close(expected.text_CK.norm(dim=1), torch.ones(4))
    for name in ("text.pt", "text.safetensors"):
        read = read_text_rows(str(tmp_path / name))
        assert read.names == NAMES
        assert torch.equal(read.text_CK, expected.text_CK)
        assert torch.equal(read.background_RK, expected.background_RK)
        assert read.scale == pytest.approx(SCALE)
    assert read_text_rows(text_file(tmp_path / "without.npz", logit_scale=None)).scale == pytest.approx(100)


_NO_NUMBER = rows(4, 1)
_NO_NUMBER[2, 1] = np.nan


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"text_CK": None}, "has no text_CK: it holds text_CK"),
        ({"names": None}, "has no names: it holds"),
        ({"backgrounds": rows(2, 1)}, "has backgrounds, which nothing reads"),
        ({"text_CK": rows(3, 1)}, "has 3 rows in text_CK and 4 names"),
        ({"text_CK": rows(4, 1)[0]}, r"a row of floating numbers per prompt; got \(7,\)"),
        ({"text_CK": np.ones((4, 7), np.int64)}, "floating numbers per prompt; got .*int64"),
        ({"text_CK": np.array(["a", "b"])}, "text_CK is an array of numbers"),
        ({"text_CK": np.zeros((4, 7), np.float32)}, r"row 0 \(tench\) of text_CK is zero or not finite"),
        ({"text_CK": _NO_NUMBER}, r"row 2 \(cliff, drop\) of text_CK is zero or not finite"),
        ({"names": np.array(["a", "b", "c", "a"])}, "names a class twice: a"),
        ({"names": np.arange(4)}, "names is a list of text"),
        ({"names": np.array(NAMES, dtype=object)}, "damaged, or holds other than arrays"),
        ({"background_BK": np.ones((2, 5), np.float32)}, "rows of 7 values in text_CK and of 5 in background_BK"),
        ({"logit_scale": np.array(100.0)}, "natural logarithm of the scale.*4.6052 for 100; got"),
        ({"logit_scale": np.ones(2)}, "one number as in CLIP's files"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    file = text_file(tmp_path / "text.npz", **other)
    with pytest.raises(ValueError, match=said) as error:
        read_text_rows(file)
    assert str(error.value).startswith(f"backbone.text={file}")
    assert "\n" not in str(error.value)


def test_no_file_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"backbone\.text=/no/file\.npz: there is no such file"):
        read_text_rows("/no/file.npz")
    for name in ("text.npz", "text.pt"):
        (tmp_path / name).write_bytes(b"no numbers")
        with pytest.raises(ValueError, match=rf"backbone\.text=.*{re.escape(name)} is damaged") as error:
            read_text_rows(str(tmp_path / name))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("trunk", "options", "said"),
    [
        ("resnet18", {}, r"needs a CLIP tower .* timm's resnet18 has none"),
        ("vit_base_patch16_siglip_224", {}, "needs a CLIP tower"),
        ("vit_tiny_patch16_224", {}, r"rows of 7 values, and the head of timm's vit_tiny_patch16_224 gives 1000"),
        ("vit_base_patch16_clip_224.openai", {}, r"with QuickGELU.*trunk=vit_base_patch16_clip_quickgelu_224\.openai$"),
        ("vit_base_patch16_clip_quickgelu_224.openai", {}, r"rows of 7 values.*quickgelu_224\.openai gives 512"),
        (TRUNK, {"pool": "max"}, "backbone.pool=max is for no text"),
    ],
)
def test_a_trunk_that_shares_no_space_with_text_is_named(text: str, trunk: str, options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        timm_gap(2, trunk, text=text, **options)


# --- by commands

CLIP = "vit_xsmall_patch16_clip_224"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tower of random weights, and text of the toy data's classes in another order than theirs."""
    folder = tmp_path_factory.mktemp("text")
    torch.manual_seed(0)
    torch.save(timm.create_model(CLIP).state_dict(), folder / "tower.pth")
    text_CK = np.random.default_rng(0).normal(size=(len(CLASS_NAMES) + 1, 512)).astype(np.float32)
    names = ["something else", *reversed(CLASS_NAMES)]
    np.savez(folder / "text.npz", text_CK=text_CK, names=names, background_BK=text_CK[:2] + 1)
    np.savez(folder / "lacking.npz", text_CK=text_CK[:-1], names=[name.upper() for name in names[1:]])
    return folder


SHAPES = (
    f"backbone=timm_gap backbone.trunk={CLIP} backbone.weights=tower.pth trainer=cpu dataset.num_train=20 "
    "dataset.num_test=10 dataset.image_size=[32,48] dataset.batch_size=3 dataset.num_workers=0"
).split()


def composed(world: Path, text: str) -> Any:
    register_resolvers()
    files = [f"backbone.weights={world / 'tower.pth'}", f"backbone.text={world / text}"]
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose("evaluate", overrides=[*SHAPES, *files])


def test_rows_are_matched_with_the_datasets_classes_by_name(world: Path) -> None:
    config = composed(world, "text.npz")
    data = build_data(config)
    network: Any = network_for_data(config, data)
    assert network.output_names == data.class_names == list(CLASS_NAMES)
    given = np.load(world / "text.npz")["text_CK"]
    for c, row in enumerate(network.classifier.weight.tolist()):
        assert row == pytest.approx([100 * value for value in unit(given[len(CLASS_NAMES) - c])], abs=1e-3)
    assert len(network.rival_RK) == 3, "the background and the class that the data have not"


@pytest.mark.slow
def test_evaluate_and_predict_run_to_their_end(world: Path) -> None:
    commands.run("evaluate", *SHAPES, "backbone.text=text.npz", "run_dir=run", cwd=world)
    assert "restricted to the dataset's 10 classes" in (world / "run" / "log.txt").read_text()
    found = (world / "run" / "predictions.csv").read_text().splitlines()
    assert len(found) == 11
    results = json.loads((world / "run" / "results.json").read_text())
    assert "test/localization_error/top1" in results

    photo = world / "photo.png"
    pixels = np.random.default_rng(3).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    options = {"trunk": CLIP, "text": str(world / "text.npz")}
    network = load("timm_gap", weights=str(world / "tower.pth"), device="cpu", **options)
    assert isinstance(network, TextHead)
    assert network.output_names == ["something else", *reversed(CLASS_NAMES)]
    (answer,) = localize(network, [str(photo)])
    assert set(answer.names) <= set(network.output_names)
    commands.run(
        "predict", "images=photo.png", *SHAPES[:3], "backbone.text=text.npz", "device=cpu", "run_dir=said", cwd=world
    )
    (said,) = json.loads((world / "said" / "predictions.json").read_text())["images"]
    assert said["names"] == list(answer.names)


def test_a_class_that_the_text_has_not_is_named_with_its_like(world: Path) -> None:
    config = composed(world, "lacking.npz")
    with pytest.raises(ValueError, match=f"no output for the dataset's class {CLASS_NAMES[0]} and 9 more") as error:
        network_for_data(config, build_data(config))
    assert re.search(r"its outputs are .*[A-Z]+.* \(and 2 more\); say which is which with dataset", str(error.value))
    assert "\n" not in str(error.value)


def test_text_is_not_trained(world: Path) -> None:
    config = composed(world, "text.npz")
    with pytest.raises(ValueError, match=r"to train it or to probe its features, leave backbone\.text null"):
        build_network(config, len(CLASS_NAMES))
