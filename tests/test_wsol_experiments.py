"""The WSOL benchmark's rows: all are there, made of the same parts, and some train on small trees in its layout."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import run
from omegaconf import OmegaConf
from test_build import composed
from test_every_experiment import ilsvrc_tree

from cam_lightning.dataset.imagenet import imagenet_classes
from cam_lightning.run.place import CONF
from experiments.leaderboard import main as leaderboard

WSOL = CONF / "experiment" / "wsol"
DATASETS = {"cub": "Cub200", "ilsvrc": "Ilsvrc", "openimages": "OpenImages30k"}
BACKBONES = {"vgg16": "vgg16_gap", "inception_v3": "inception_v3_gap", "resnet50": "resnet50_gap"}
METHODS = {
    "cam": "Classification",
    "has": "HideAndSeek",
    "acol": "Acol",
    "spg": "Spg",
    "adl": "Classification",
    "cutmix": "CutMix",
}
ROWS = list(itertools.product(DATASETS, BACKBONES, METHODS))
CAM = {"ilsvrc": (60.0, 63.4, 63.7), "cub": (63.7, 56.7, 63.0), "openimages": (58.3, 63.2, 58.5)}
"""The benchmark's main table: MaxBoxAccV2, of OpenImages PxAP."""
MEAN_OF_THE_OTHERS = {
    "has": {"ilsvrc": 0.2, "cub": -0.5, "openimages": -2.6},
    "acol": {"ilsvrc": -1.2, "cub": -1.1, "openimages": -3.7},
    "spg": {"ilsvrc": -0.2, "cub": -3.6, "openimages": -0.9},
    "adl": {"ilsvrc": -0.7, "cub": 0.0, "openimages": -3.1},
    "cutmix": {"ilsvrc": -0.2, "cub": -0.3, "openimages": -0.6},
}
"""The same table's means over the three backbones, which it gives to one decimal."""


def said(dataset: str, backbone: str, method: str) -> float:
    """What a row's header says is to be expected."""
    found = re.search(r"(?:MaxBoxAccV2|PxAP) (\d+\.\d+) to expect", text_of(dataset, backbone, method))
    assert found is not None
    return float(found[1])


def text_of(*row: str) -> str:
    return (WSOL / "/".join(row)).with_suffix(".yaml").read_text(encoding="utf-8")


def test_every_row_of_the_benchmark_is_there_and_no_other() -> None:
    there = {tuple(path.relative_to(WSOL).with_suffix("").parts) for path in WSOL.rglob("*/*/*.yaml")}
    further = itertools.product(DATASETS, BACKBONES, ("cam_ivr", "few_shot"))
    ours = itertools.product(["cub"], ["googlenet"], [*METHODS, "few_shot"])
    assert there == {*ROWS, *further, *ours}


def test_rows_say_what_the_benchmark_found() -> None:
    for dataset, expected in CAM.items():
        assert tuple(said(dataset, backbone, "cam") for backbone in BACKBONES) == expected
        for method, means in MEAN_OF_THE_OTHERS.items():
            gains = [said(dataset, each, method) - said(dataset, each, "cam") for each in BACKBONES]
            assert np.mean(gains) == pytest.approx(means[dataset], abs=0.07), (dataset, method)


def test_the_few_shot_rows_are_of_few_images() -> None:
    """As many of each class as the benchmark gives every method for its validation."""
    for dataset, count in {"ilsvrc": 10, "cub": 5, "openimages": 5}.items():
        values = []
        for backbone in BACKBONES:
            content = OmegaConf.load(WSOL / dataset / backbone / "few_shot.yaml")
            assert content.dataset.images_per_class == count
            assert content.defaults[2] == "/experiment/wsol/part/few_shot"
            values.append(said(dataset, backbone, "few_shot"))
        mean = {"ilsvrc": 64.0, "cub": 80.2, "openimages": 71.5}[dataset]
        assert np.mean(values) == pytest.approx(mean, abs=0.06)


@pytest.mark.parametrize("row", ROWS, ids="/".join)
def test_a_row_is_its_three_parts_and_a_rate_whose_source_is_told(row: tuple[str, str, str]) -> None:
    content = OmegaConf.load(WSOL / f"{'/'.join(row)}.yaml")
    assert content.defaults == [*(f"/experiment/wsol/part/{part}" for part in row), "_self_"]
    assert set(content) == {"defaults", "method"}
    text = text_of(*row)
    assert ("the benchmark's search" in text) != ("NOT PUBLISHED" in text and "# search:" in text)
    assert re.search(r"GPU hours, estimated .*: \d", text)
    assert f"experiment=wsol/{'/'.join(row)} " in text
    assert len(text.splitlines()) < 25


@pytest.mark.parametrize("row", [("cub", "resnet50", "adl"), ("openimages", "vgg16", "acol")], ids="/".join)
def test_a_row_composes(row: tuple[str, str, str]) -> None:
    _compose(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids="/".join)
def test_all_rows_compose(row: tuple[str, str, str]) -> None:
    _compose(row)


def _compose(row: tuple[str, str, str]) -> None:
    dataset, backbone, method = row
    config = composed(f"experiment=wsol/{'/'.join(row)}")
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert config.dataset._target_.endswith(f".{DATASETS[dataset]}")
    assert config.backbone._target_.endswith(f".{BACKBONES[backbone]}")
    assert config.method._target_.endswith(f".{METHODS[method]}")
    assert config.method.learning_rate == OmegaConf.load(WSOL / f"{'/'.join(row)}.yaml").method.learning_rate
    assert config.method.optimizer.nesterov
    assert config.trainer.max_epochs == (50 if dataset == "cub" else 10)
    assert ("max_box_accuracy_v2" in config.metric) != ("pixel_average_precision" in config.metric)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "backbone"), [("cub", "vgg16"), ("ilsvrc", "inception_v3"), ("openimages", "resnet50")]
)
def test_ivr_changes_boxes_and_scores_alone(dataset: str, backbone: str) -> None:
    plain, ivr = (
        OmegaConf.to_container(composed(f"experiment=wsol/{dataset}/{backbone}/{method}"))
        for method in ("cam", "cam_ivr")
    )
    assert isinstance(plain, dict)
    assert isinstance(ivr, dict)
    changed = {group for group in plain if plain[group] != ivr[group]}
    assert changed == {"box", "metric"}
    assert ivr["box"] == {**plain["box"], "normalise": "ivr"}
    for name, options in ivr["metric"].items():
        swept = "map_size" in options or name == "pixel_average_precision"
        assert options == plain["metric"][name] | ({"normalise": "ivr"} if swept else {})


def _photo(path: Path, seed: int, size: tuple[int, int] = (70, 110)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8))


def _index(folder: Path, ids: list[str], labels: list[int], places: list[str]) -> None:
    folder.mkdir(parents=True)
    (folder / "image_ids.txt").write_text("\n".join(ids))
    for file, values in (("class_labels", labels), ("image_sizes", ["110,70"] * len(ids)), ("localization", places)):
        (folder / f"{file}.txt").write_text("\n".join(f"{i},{v}" for i, v in zip(ids, values, strict=False)))


def _cub(root: Path, metadata: Path) -> None:
    classes = ["001.A", "002.B"]
    names = [f"{classes[i % 2]}/b{i}.jpg" for i in range(12)]
    for i, name in enumerate(names):
        _photo(root / "images" / name, i)
    tables = {
        "images": names,
        "image_class_labels": [1 + i % 2 for i in range(12)],
        "train_test_split": [int(i < 8) for i in range(12)],
        "bounding_boxes": ["10.0 8.0 60.0 40.0"] * 12,
        "classes": classes,
    }
    for table, values in tables.items():
        (root / f"{table}.txt").write_text("".join(f"{i} {value}\n" for i, value in enumerate(values, 1)))
    ids = [f"{name}/v{i}.jpg" for i in range(2) for name in classes]
    for i, name in enumerate(ids):
        _photo(root / "images" / name, 20 + i)
    _index(metadata / "val", ids, [0, 1, 0, 1], ["5,5,70,50"] * 4)


def _ilsvrc(root: Path, metadata: Path) -> None:
    wnids = ["n01440764", "n02102040"]
    for i in range(8):
        _photo(root / "train" / wnids[i % 2] / f"{wnids[i % 2]}_{i}.JPEG", i)
    ids = [f"val/ILSVRC2012_val_{i + 1:08d}.JPEG" for i in range(4)]
    for i, name in enumerate(ids):
        _photo(root / name, 20 + i)
    _index(metadata / "test", ids, [imagenet_classes().index(wnids[i % 2]) for i in range(4)], ["10,8,69,47"] * 4)


def _openimages(root: Path, metadata: Path) -> None:
    for part, count in (("train", 8), ("val", 4), ("test", 4)):
        ids = [f"{part}/{'ab'[i % 2]}/{i}.jpg" for i in range(count)]
        places = []
        for i, name in enumerate(ids):
            _photo(root / name, i)
            mask = np.zeros((70, 110), np.uint8)
            mask[10:40, 20:80] = 255
            cv2.imwrite(str(root / f"{name[:-4]}_m.png"), mask)
            places.append(f"{name[:-4]}_m.png,")
        _index(metadata / part, ids, [i % 2 for i in range(count)], places if part != "train" else [])


TREES = {"cub": _cub, "ilsvrc": _ilsvrc, "openimages": _openimages}


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [("cub", "vgg16", "spg"), ("ilsvrc", "inception_v3", "cutmix"), ("openimages", "resnet50", "adl"),
            ("openimages", "vgg16", "few_shot"), ("cub", "resnet50", "few_shot")],
    ids="/".join,
)  # fmt: skip
def test_a_row_trains_two_steps_and_is_scored(row: tuple[str, str, str], tmp_path: Path) -> None:
    root, metadata = tmp_path / "photos", tmp_path / "metadata"
    TREES[row[0]](root, metadata)
    run(
        "train",
        f"experiment=wsol/{'/'.join(row)}",
        f"dataset.root={root}",
        f"dataset.metadata={metadata}",
        *(["dataset.cache=null"] if row[0] == "ilsvrc" else []),
        "backbone.weights=none",
        "dataset.image_size=96",
        f"dataset.batch_size={1 if row[2] == 'few_shot' else 3}",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "method.schedule.every=1",
        f"run_dir={tmp_path / 'run'}",
        cwd=tmp_path,
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test/num_images"] == 4
    assert results["protocol/steps"] == 2
    if row[2] == "few_shot":
        assert "boxes or masks of 2 images teach the network" in (tmp_path / "run" / "log.txt").read_text()
    key = "pixel_average_precision" if row[0] == "openimages" else "max_box_accuracy_v2"
    assert 0 <= results[f"test/{key}"] <= 1


def test_the_six_methods_on_imagenette_differ_in_nothing_but_the_method() -> None:
    assert {path.stem for path in (WSOL / "imagenette").glob("*.yaml")} == set(METHODS)
    plain = OmegaConf.to_container(composed("experiment=paper/imagenette/googlenet_gap"), resolve=True)
    assert isinstance(plain, dict)
    for name, target in METHODS.items():
        config = OmegaConf.to_container(composed(f"experiment=wsol/imagenette/{name}"), resolve=True)
        assert isinstance(config, dict)
        assert config["method"]["_target_"].endswith(f".{target}")
        assert {group for group in plain if config[group] != plain[group]} == (
            {"metric", "further"} if name == "cam" else {"metric", "further", "method"}
        )
        for option in ("learning_rate", "new_layer_rate_factor", "schedule", "optimizer"):
            assert config["method"][option] == plain["method"][option], (name, option)
        assert config["further"]["box"] == {"ivr": config["box"] | {"normalise": "ivr"}}


def test_the_rows_on_cub_are_those_on_imagenette_but_for_the_data_and_the_epochs() -> None:
    for name in METHODS:
        theirs = OmegaConf.to_container(composed(f"experiment=wsol/imagenette/{name}"), resolve=True)
        config = OmegaConf.to_container(composed(f"experiment=wsol/cub/googlenet/{name}"), resolve=True)
        assert isinstance(theirs, dict)
        assert isinstance(config, dict)
        assert config["dataset"]["_target_"].endswith(".Cub200")
        assert {group for group in theirs if config[group] != theirs[group]} == {"dataset", "trainer"}
        assert {key for key in theirs["trainer"] if config["trainer"][key] != theirs["trainer"][key]} == {
            "max_epochs", "check_val_every_n_epoch"
        }  # fmt: skip
        assert f"experiment=wsol/cub/googlenet/{name} " in text_of("cub", "googlenet", name)


def test_few_shot_on_cub_takes_the_steps_that_image_labels_take() -> None:
    """On 25 classes of 30 photos, of which a tenth is held out."""
    steps = {}
    for name in ("cam", "few_shot"):
        config = composed(f"experiment=wsol/cub/googlenet/{name}")
        images = 25 * 30 * (1 - config.dataset.val_fraction)
        if config.dataset.images_per_class is not None:
            images = 25 * config.dataset.images_per_class
        steps[name] = config.trainer.max_epochs * (images / config.dataset.batch_size)
        small, large = config.dataset.train_size
        assert (small[1], large[1]) == (128, 224)
        assert large[0] / config.trainer.max_epochs == pytest.approx(2 / 3, abs=0.01), "as large for as long"
    assert steps["few_shot"] == pytest.approx(steps["cam"], rel=0.03)
    config = composed("experiment=wsol/cub/googlenet/few_shot")
    assert (config.method._target_.rpartition(".")[2], config.box.normalise) == ("FewShot", "none")


@pytest.mark.slow
def test_few_shot_on_cub_has_all_four_thresholds_in_one_run(tmp_path: Path) -> None:
    root, metadata = tmp_path / "photos", tmp_path / "metadata"
    _cub(root, metadata)
    run(
        "train", "experiment=wsol/cub/googlenet/few_shot", f"dataset.root={root}", "backbone.weights=none",
        "backbone.variant=torchvision", "backbone.width=0.25", "dataset.image_size=96", "dataset.train_size=96",
        "dataset.batch_size=2", "dataset.images_per_class=2", "dataset.val_fraction=0.25", "trainer=cpu",
        "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", f"run_dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    for threshold in ("", "@selected", "@label_free", "@oracle"):
        assert 0 <= results[f"test/gt_known_error{threshold}"] <= 1


@pytest.mark.slow
def test_a_sweep_over_methods_on_imagenette_is_completed_and_ends_in_a_leaderboard(tmp_path: Path) -> None:
    root, metadata = ilsvrc_tree(tmp_path / "imagenette", tmp_path / "metadata")
    command = [
        "-m", "experiment=wsol/imagenette/cam,wsol/imagenette/adl", f"dataset.root={root}", "sweep=imagenette",
        f"dataset.metadata={metadata}", "dataset.cache=null", f"paths.runs={tmp_path / 'runs'}", "trainer=cpu",
        "dataset.image_size=64", "dataset.train_size=64", "dataset.batch_size=4", "backbone.variant=torchvision",
        "backbone.width=0.25",
        "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "trainer.precision=32-true",
    ]  # fmt: skip
    run("train", *command, cwd=tmp_path)
    again = run("train", *command, cwd=tmp_path)
    assert again.stdout.count("finished before, so skipped") == 2
    assert leaderboard([str(tmp_path / "runs" / "imagenette"), "--output", str(tmp_path / "board")]) == 0
    board = (tmp_path / "board" / "leaderboard.md").read_text()
    rows = {line.split(" | ")[0].removeprefix("| ") for line in board.splitlines() if line.startswith("| ")}
    assert {"Classification", "Classification, ivr", "Adl", "Adl, ivr", "baseline: centre box"} <= rows
    header = "| method | runs | fixed ↓ | label-free ↓ | oracle ↓ |"
    assert header in board, "held-out photos of Imagenette have no boxes that a threshold could be selected by"
    for title in ("GT-known error, by threshold", "MaxBoxAccV2", "Cost"):
        assert f"### {title}" in board, title
