"""`load` and `localize`, as a reader of the README uses them, against evaluation and a slow plain loop."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import scipy.ndimage
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from cam_lightning import evaluate, load, localize
from cam_lightning.backbone.squeezenet_gap import squeezenet_gap
from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.build import build_data, build_method, build_network
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.dataset.imagenet import imagenet_names
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE

ROOT = Path(__file__).parents[1]
SIZE = (48, 64)
SIZES = [(30, 50), (70, 41), (64, 64), (20, 90), (33, 34)]
"""Of the photos: wider than high, higher than wide, square."""


def composed(name: str, *overrides: str) -> DictConfig:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose(name, overrides=list(overrides))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training run leaves, without the training: a checkpoint of random weights on drawn scenes."""
    run_dir = tmp_path_factory.mktemp("a run's = own")
    config = composed(
        "train", "dataset.num_train=41", "dataset.num_test=23", f"dataset.image_size=[{SIZE[0]},{SIZE[1]}]",
        "dataset.batch_size=4", "backbone=squeezenet_gap", "box.threshold=0.45", "trainer=cpu",
    )  # fmt: skip
    data = build_data(config)
    network = build_network(config, data.num_classes)
    method = build_method(config, network, data)
    (run_dir / "checkpoints").mkdir()
    state = {"state_dict": method.state_dict(), "cam_lightning": method.description}
    torch.save(state, run_dir / "checkpoints" / "last.ckpt")
    return run_dir


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Smooth colours, so that maps have regions."""
    random = np.random.default_rng(0)
    small = [random.integers(0, 256, (5, 6, 3), dtype=np.uint8) for _ in SIZES]
    pictures = zip(small, SIZES, strict=True)
    return [np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)) for image, size in pictures]


def _box_by_hand(map_hw: Tensor, size: tuple[int, int], threshold: float) -> list[int]:
    """Largest component of what lies above a share of the maximum, of the upsampled map."""
    map_HW = F.interpolate(map_hw[None, None], size, mode="bilinear")[0, 0].numpy()
    labels, count = scipy.ndimage.label(map_HW > threshold * map_HW.max(), structure=np.ones((3, 3)))
    if map_HW.max() <= 0:
        return [0, 0, size[1], size[0]]
    largest = 1 + int(np.argmax([(labels == label).sum() for label in range(1, count + 1)]))
    ys, xs = np.nonzero(labels == largest)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


# --- load


def test_a_run_and_its_checkpoint_are_the_same_network(run_dir: Path) -> None:
    one, other = load(run_dir), load(str(run_dir / "checkpoints" / "last.ckpt"), device="cpu")
    assert not one.training
    assert one.num_classes == 10
    for name, value in one.state_dict().items():
        assert value.equal(other.state_dict()[name])
    recipe = one.recipe
    assert recipe is not None
    assert recipe.input_size == SIZE
    assert isinstance(recipe.box, LargestComponent)
    assert recipe.box.threshold == 0.45
    assert recipe.class_names == torch.load(
        run_dir / "checkpoints" / "last.ckpt", weights_only=True
    )["cam_lightning"]["class_names"]  # fmt: skip


def test_weights_of_a_thousand_classes_speak_english(weights: Path) -> None:
    network = load("squeezenet_gap", str(weights))
    assert network.recipe is not None
    assert network.recipe.class_names == list(imagenet_names().values())
    assert network.recipe.class_names[0] == "tench"
    assert network.recipe.input_size == (224, 224)
    assert isinstance(network.recipe.box, LargestComponent)
    assert network.recipe.box.threshold == 0.2


def test_wordnet_ids_of_a_checkpoint_become_names(run_dir: Path, tmp_path: Path) -> None:
    state = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    state["cam_lightning"]["class_names"][:2] = ["n01440764", "n00000000"]
    torch.save(state, tmp_path / "a.ckpt")
    recipe = load(tmp_path / "a.ckpt").recipe
    assert recipe is not None
    assert recipe.class_names[:2] == ["tench", "n00000000"]


def test_selected_classes_keep_their_names(run_dir: Path, photos: list[np.ndarray]) -> None:
    network = load(run_dir)
    assert network.recipe is not None
    names = network.recipe.class_names
    selected = network.select_classes([7, 2, 4])
    (whole,), (part,) = localize(network, photos[0]), localize(selected, photos[0])
    assert selected.recipe is not None
    assert selected.recipe.class_names == [names[7], names[2], names[4]]
    assert network.recipe.class_names == names
    order = [name for name in whole.names if name in part.names]
    assert [name for name in part.names if name in order] == order


@pytest.mark.parametrize(
    ("source", "options", "error", "says"),
    [
        ("no/where", {}, FileNotFoundError, "no/where is neither a run's directory, nor a checkpoint, nor a backbone"),
        ("squeezenet_gap", {}, ValueError, "needs weights: 'imagenet', or a file"),
        ("squeezenet_gap", {"weights": "no.pth"}, FileNotFoundError, "no.pth: there is no such file"),
        ("squeezenet_gap", {"weights": "WEIGHTS", "width": 2}, ValueError, "has no option width; it has .*variant"),
        ("googlenet_gap", {"weights": "WEIGHTS"}, ValueError, "holds no classifier, the layer"),
        ("RUN", {"weights": "imagenet"}, ValueError, "brings its own weights"),
        ("RUN", {"variant": "squeezenet1_1"}, ValueError, "brings its own weights"),
        ("RUN", {"device": "gpuu"}, ValueError, "device is auto, cpu or cuda; got 'gpuu'"),
        ("EMPTY", {}, FileNotFoundError, "holds no checkpoints/last.ckpt"),
        ("WEIGHTS", {}, ValueError, "is not a checkpoint of cam_lightning"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_said(
    source: str,
    options: dict[str, Any],
    error: type[Exception],
    says: str,
    run_dir: Path,
    weights: Path,
    tmp_path: Path,
) -> None:
    places = {"RUN": str(run_dir), "WEIGHTS": str(weights), "EMPTY": str(tmp_path)}
    options = {key: places.get(value, value) if isinstance(value, str) else value for key, value in options.items()}
    with pytest.raises(error, match=says):
        load(places.get(source, source), **options)


# --- localize


def test_boxes_are_those_of_a_plain_loop(run_dir: Path, photos: list[np.ndarray]) -> None:
    network = load(run_dir)
    found = list(localize(network, photos))
    assert [one.size for one in found] == SIZES
    for photo, one in zip(photos, found, strict=True):
        resized = F.interpolate(
            torch.from_numpy(photo).permute(2, 0, 1)[None].float(), SIZE, mode="bilinear", antialias=True
        ).round() / 255  # fmt: skip
        with torch.no_grad():
            logits, features, _ = network((resized - torch.tensor(network.normalization.mean).view(3, 1, 1))
                                       / torch.tensor(network.normalization.std).view(3, 1, 1))  # fmt: skip
        probability, _ = logits.softmax(1)[0].sort(descending=True, stable=True)
        torch.testing.assert_close(one.probability_T, probability[:5], atol=1e-3, rtol=1e-2)
        assert one.probability_T[0] >= one.probability_T[1]
        assert one.rank_P == (0, 1, 2, 3, 4)
        assert len(set(one.classes_T.tolist())) == 5
        for place, number in enumerate(one.classes_T.tolist()):
            # Ours are resized as whole levels, so a pixel may differ by one.
            assert (one.map_Thw[place] - features[0, number]).abs().max() < 0.02 * features.abs().max()
            assert one.boxes_P4[place].tolist() == _box_by_hand(one.map_Thw[place], one.size, 0.45)


def test_images_come_as_files_arrays_one_or_many(run_dir: Path, photos: list[np.ndarray], tmp_path: Path) -> None:
    network = load(run_dir)
    paths = [tmp_path / f"it's = {number}, a.png" for number in range(len(photos))]
    for path, photo in zip(paths, photos, strict=True):
        Image.fromarray(photo).save(path)
    expected = list(localize(network, photos))
    ways: list[Any] = [
        paths,
        [str(paths[0]), *photos[1:]],
        (path for path in paths),
        [photo[:, ::-1][:, ::-1] for photo in photos],
        [Image.fromarray(photo) for photo in photos],
        (Image.open(path) for path in paths),
    ]
    for images in ways:
        for one, other in zip(localize(network, images, batch_size=2), expected, strict=True):
            assert one.size == other.size
            assert one.names == other.names
            assert one.boxes_P4.equal(other.boxes_P4)
    for single in (paths[1], str(paths[1]), photos[1], Image.fromarray(photos[1])):
        (one,) = localize(network, single)
        assert one.boxes_P4.equal(expected[1].boxes_P4)
    assert [one.size for one in localize(network, np.stack([photos[2]] * 3))] == [SIZES[2]] * 3
    assert list(localize(network, [])) == []


def test_pil_images_are_seen_as_their_files_are(run_dir: Path, photos: list[np.ndarray], tmp_path: Path) -> None:
    """Turned by EXIF, grey, with a palette, with transparency."""
    network, photo = load(run_dir), Image.fromarray(photos[0])
    turned = Image.Exif()
    turned[0x0112] = 6
    photo.save(tmp_path / "turned.png", exif=turned)
    photo.convert("L").save(tmp_path / "grey.png")
    photo.quantize(16).save(tmp_path / "palette.png")
    photo.convert("RGBA").save(tmp_path / "alpha.png")
    paths = sorted(tmp_path.glob("*.png"))
    assert len(paths) == 4
    opened = localize(network, (Image.open(path) for path in paths))
    for one, other in zip(opened, localize(network, paths), strict=True):
        assert one.size == other.size
        assert one.boxes_P4.equal(other.boxes_P4)
        assert one.probability_T.equal(other.probability_T)
    with pytest.raises(OSError, match="stand for no colour"):
        list(localize(network, Image.fromarray(np.zeros((4, 5), np.float32))))


def test_images_are_read_as_results_are_asked_for(run_dir: Path, photos: list[np.ndarray]) -> None:
    """So any number of them fits into memory."""
    read = 0

    def images() -> Iterator[np.ndarray]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield photos[0]

    results = localize(load(run_dir), images(), batch_size=2)
    assert read == 0
    next(results)
    assert read == 2


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_a_pil_image_is_taken_as_its_file_is(
    mode: str, run_dir: Path, photos: list[np.ndarray], tmp_path: Path
) -> None:
    """Alone or among others, upright as EXIF says, in the mode that it has."""
    image = Image.fromarray(photos[0]).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"photo.{'jpg' if mode == 'CMYK' else 'png'}"
    image.save(path, exif=exif)
    network = load(run_dir)
    with Image.open(path) as opened:
        (alone,) = localize(network, opened)
        among = list(localize(network, [photos[1], opened]))[1]
    (file,) = localize(network, path)
    assert alone.size == SIZES[0][::-1]
    for found in (alone, among):
        assert (found.size, found.classes_T.tolist()) == (file.size, file.classes_T.tolist())
        torch.testing.assert_close(found.map_Thw, file.map_Thw)


def test_a_network_that_says_no_number_is_no_answer(run_dir: Path, photos: list[np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "it.png"
    Image.fromarray(photos[0]).save(path)
    network = load(run_dir)
    assert len(list(localize(network, [photos[1], path]))) == 2
    with torch.no_grad():
        network.class_conv.bias[0] = torch.nan  # type: ignore[index, union-attr, operator]
    with pytest.raises(
        FloatingPointError, match=rf"for image 0, {path}: the network's weights are broken: class_conv\.b"
    ):
        list(localize(network, [photos[1], path]))


def test_the_rule_can_be_chosen(run_dir: Path, photos: list[np.ndarray]) -> None:
    network = load(run_dir)
    (one,) = localize(network, photos[0], box=LargestComponent(threshold=0.8), image_size=(64, 96))
    assert one.map_Thw.shape[1:] == network(torch.zeros(1, 3, 64, 96)).features_BKhw.shape[2:]
    assert one.boxes_P4[0].tolist() == _box_by_hand(one.map_Thw[0], SIZES[0], 0.8)


def test_several_maps_share_a_forward(run_dir: Path, photos: list[np.ndarray]) -> None:
    """By names of ours or maps of one's own: the first is the result's own, each as it is alone."""
    network = load(run_dir)
    forwards: list[int] = []
    network.trunk.register_forward_hook(lambda module, inputs, output: forwards.append(len(inputs[0])))
    several = list(localize(network, photos, cam=["cam", "grad_cam", "eigen_cam"]))
    assert [count for count in forwards if count > 1] == [len(photos)], "what checks the maps sees one blank image"
    for name, cam in (("", ClassActivationMap()), ("grad_cam", GradCam()), ("eigen_cam", "eigen_cam")):
        alone = list(localize(network, photos, cam=cam))
        for one, other in zip(several, alone, strict=True):
            found = one.further[name] if name else one
            assert found.names == other.names
            torch.testing.assert_close(found.map_Thw, other.map_Thw)
            assert found.boxes_P4.equal(other.boxes_P4)
            assert not other.further
    assert all(list(one.further) == ["grad_cam", "eigen_cam"] for one in several)
    (mine,) = localize(network, photos[0], cam={"plain": ClassActivationMap(), "mine": GradCam()})
    assert list(mine.further) == ["mine"]
    with pytest.raises(ValueError, match="there is no map called 'gradcam'; there are ablation_cam, "):
        localize(network, photos, cam=["cam", "gradcam"])
    with pytest.raises(ValueError, match="cam names none"):
        localize(network, photos, cam={})


def test_a_network_of_one_s_own_needs_no_recipe(photos: list[np.ndarray]) -> None:
    network = squeezenet_gap(3).eval()
    (one,) = localize(network, photos[0], image_size=64)
    assert sorted(one.names) == ["0", "1", "2"]
    assert one.boxes_P4.shape == (3, 4)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        torch.zeros(4, 5, 3, dtype=torch.uint8),
    ],
    ids=lambda image: f"{type(image).__name__} {tuple(image.shape)}",
)
def test_other_arrays_are_refused(run_dir: Path, image: Any) -> None:
    with pytest.raises(ValueError, match=r"a path, a PIL image or a uint8 RGB array \(H, W, 3\); got"):
        list(localize(load(run_dir), [image]))


def test_what_cannot_be_localized_is_said_at_once(run_dir: Path) -> None:
    network = load(run_dir)
    with pytest.raises(ValueError, match="batch_size is at least 1"):
        localize(network, [], batch_size=0)
    with pytest.raises(ValueError, match="training mode"):
        localize(network.train(), [])
    network.maps = lambda output, classes_BT: None
    with pytest.raises(ValueError, match="has no class activation map"):
        localize(network.eval(), [])


def test_it_agrees_with_evaluation(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same checkpoint, the same images, one as a test split and one as a user's arrays."""
    monkeypatch.setenv(RUN_DIR_VARIABLE, "")
    evaluated = RunDirectory.create(tmp_path, "x", tmp_path / "evaluated")
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    config = composed("evaluate", "trainer=cpu", "callback=[localization]")
    config.checkpoint, config.run_dir = str(checkpoint), str(evaluated.path)
    evaluate.run(config, evaluated)
    with (evaluated.path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    source = build_data(config).examples["test"]
    found = list(localize(load(checkpoint), (source.original(i) for i in range(len(source))), batch_size=4))
    assert len(rows) == len(found) == 23
    for row, one in zip(rows, found, strict=True):
        assert json.loads(row["classes"]) == one.classes_T.tolist()
        assert json.loads(row["boxes"]) == one.boxes_P4.tolist()
        assert json.loads(row["probabilities"]) == [round(value, 6) for value in one.probability_T.tolist()]


# --- as shown


def test_the_readme_s_example_runs_as_it_stands(
    run_dir: Path,
    photos: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- from python -->\n```python\n(.*?)```", readme, re.DOTALL)
    assert 5 <= len(code.strip().splitlines()) <= 7
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "RUN").symlink_to(run_dir)
    for name, photo in zip(("one.jpg", "two.jpg"), photos, strict=False):
        Image.fromarray(photo).save(tmp_path / name, quality=95)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["one.jpg", "two.jpg"]
    assert all("tensor([" in line and "torch.Size([" in line for line in lines)


def test_importing_the_package_is_light(tmp_path: Path) -> None:
    code = (
        "import sys, cam_lightning\n"
        "assert {'boxes', 'load', 'localize'} <= set(cam_lightning.__all__)\n"
        "assert not {'torch', 'numpy', 'hydra', 'lightning'} & set(sys.modules)\n"
        "try:\n    cam_lightning.nothing\nexcept AttributeError as error:\n    print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert answer.stdout == "module 'cam_lightning' has no attribute 'nothing'\n"
