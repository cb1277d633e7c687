"""Every experiment runs: composed whole, on a small tree in its data's official layout, two steps of training.

The rows of the WSOL benchmark, those of Table 5 and the released network have tests of their own.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from test_build import composed

from cam_lightning.build import build_network
from cam_lightning.dataset.imagenet import imagenet_classes
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.place import CONF
from cam_lightning.run.range import require_ranges

EXPERIMENTS = CONF / "experiment"
CLASSES = ["n01440764", "n02102040"]
HEAVY = ("vgg16", "alexnet_backprop", "alexnet_published", "ilsvrc/alexnet")
"""Of tens of millions of parameters, which take seconds to draw and to write."""
WITHOUT_MAPS = ("paper/ilsvrc/alexnet", "paper/ilsvrc/vgg16")
"""They classify."""
SMALL = (
    "dataset.image_size=64", "dataset.batch_size=2", "dataset.num_workers=0", "trainer.precision=32-true",
    "trainer.accelerator=cpu", "trainer.devices=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=2", "callback=[localization]",
)  # fmt: skip


def command_of(path: Path) -> str:
    """Which command an experiment is for, by its header."""
    text = path.read_text(encoding="utf-8")
    return "probe" if "cam_lightning.probe" in text else "evaluate" if "(for `evaluate`" in text else "train"


def _name(path: Path) -> str:
    return path.relative_to(EXPERIMENTS).with_suffix("").as_posix()


def _is_part(path: Path) -> bool:
    """Parts of rows, and what is tested elsewhere."""
    return _name(path).startswith(("wsol/", "paper/table5_")) or path.stem in ("published", "googlenet_gap_released")


PATHS = [path for path in sorted(EXPERIMENTS.rglob("*.yaml")) if not _is_part(path)]
EVERY = [
    pytest.param(_name(path), command_of(path), id=_name(path),
                 marks=[pytest.mark.slow] if any(part in _name(path) for part in HEAVY) else [])
    for path in PATHS
]  # fmt: skip


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Options that name a tree in each layout, by a word of the dataset's class."""
    folder = tmp_path_factory.mktemp("data")
    ilsvrc, metadata = ilsvrc_tree(folder / "ILSVRC", folder / "metadata")
    return {
        "ilsvrc": [f"dataset.root={ilsvrc}", f"dataset.metadata={metadata}", "dataset.cache=null"],
        "tiny_imagenet": [f"dataset.root={_tiny_imagenet(folder / 'tiny-imagenet-2')}"],
        "shapes": ["dataset.num_train=40", "dataset.num_test=20", "dataset.val_fraction=0.2"],
        "cub200": [f"dataset.root={_cub(folder / 'CUB_200_2011')}"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[DictConfig], Path]:
    """Makes a file of a network's random weights, for all of ImageNet, once for each network."""
    folder, files = tmp_path_factory.mktemp("weights"), {}

    def write(config: DictConfig) -> Path:
        config = config.copy()
        config.backbone.weights = "none"
        key = str(config.backbone)
        if key not in files:
            files[key] = folder / f"{len(files)}.pth"
            state = build_network(config, 1000).state_dict()
            torch.save({name: value.half() for name, value in state.items()}, files[key])
        return files[key]

    return write


@pytest.mark.parametrize(("name", "command"), EVERY)
def test_an_experiment_runs(
    name: str, command: str, trees: dict[str, list[str]], weights: Callable[[DictConfig], Path], tmp_path: Path
) -> None:
    if "efficientnet" in name and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    dataset = composed(f"experiment={name}", name=command).dataset["_target_"].split(".")[-2]
    options = [f"experiment={name}", *SMALL, *trees[dataset], f"run_dir={tmp_path / 'run'}"]
    if command == "train":
        options += ["dataset.train_size=null", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
    if command == "probe":
        options += [f"features={tmp_path / 'features'}", "device=cpu"]
    if "crop" in name:
        # Where an earlier run's maps would have found the birds.
        options.append(f"dataset.crops={_crops(tmp_path / 'predictions.csv')}")
    config = composed(*options, name=command)
    if command != "train":
        config.backbone.weights = str(weights(config))
    elif "paper/" in name:
        config.trainer.max_steps = -1
    require_ranges(OmegaConf.to_container(config, resolve=True))
    run = RunDirectory.create(tmp_path, "run", tmp_path / "run")
    importlib.import_module(f"cam_lightning.{command}").run(config, run)
    results: dict[str, Any] = json.loads((run.path / "results.json").read_text())
    assert results["test/num_images"] == 4
    assert 0 <= results["test/classification_error/top1"] <= 1
    if command == "train":
        assert results["protocol/steps"] == 2
    if command != "probe" and name not in WITHOUT_MAPS:
        assert 0 <= results["test/localization_error/top1"] <= 1


def test_every_row_of_the_paper_says_what_to_expect() -> None:
    for path in (path for path in PATHS if _name(path).startswith("paper/")):
        header = path.read_text(encoding="utf-8").partition("defaults:")[0]
        assert header.startswith("# @package _global_\n# "), path
        assert any(word in header for word in ("xpect", "(paper ", "Table 5")), path


def _photo(path: Path, seed: int, height: int = 70, width: int = 96) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (width, height)))


def ilsvrc_tree(root: Path, metadata: Path) -> tuple[Path, Path]:
    """Both classes' folders below train and val, official names in val, and the benchmark's index of these."""
    rows: dict[str, list[str]] = {key: [] for key in ("image_ids", "class_labels", "image_sizes", "localization")}
    for number in range(16):
        wnid = CLASSES[number % 2]
        _photo(root / "train" / wnid / f"{wnid}_{number}.JPEG", number)
    for number in range(1, 5):
        wnid = CLASSES[number % 2]
        name = f"val/ILSVRC2012_val_{number:08d}.JPEG"
        _photo(root / "val" / wnid / Path(name).name, 100 + number)
        label = imagenet_classes().index(wnid)
        for key, value in zip(rows, ("", f",{label}", ",96,70", ",10,20,79,59"), strict=True):
            rows[key].append(name + value)
    (metadata / "test").mkdir(parents=True)
    for key, lines in rows.items():
        (metadata / "test" / f"{key}.txt").write_text("\n".join(lines))
    return root, metadata


def _tiny_imagenet(root: Path) -> Path:
    for wnid in CLASSES:
        files = [f"{wnid}_{number}.JPEG" for number in range(8)]
        for number, file in enumerate(files):
            _photo(root / "train" / wnid / "images" / file, number, 64, 64)
        boxes = "".join(f"{file}\t5\t6\t50\t40\n" for file in files)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(boxes)
    for number in range(4):
        _photo(root / "val" / "images" / f"val_{number}.JPEG", 50 + number, 64, 64)
    rows = "".join(f"val_{number}.JPEG\t{CLASSES[number % 2]}\t5\t6\t50\t40\n" for number in range(4))
    (root / "val" / "val_annotations.txt").write_text(rows)
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in CLASSES))
    (root / "words.txt").write_text("n01440764\ttench\nn02102040\tEnglish springer\n")
    return root


_BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross")


def _cub(root: Path) -> Path:
    tables = ("images", "image_class_labels", "train_test_split", "bounding_boxes")
    lists: dict[str, list[str]] = {key: [] for key in tables}
    for number in range(1, 13):
        name = f"{_BIRDS[number % 2]}/bird_{number}.jpg"
        _photo(root / "images" / name, number)
        row = (name, str(number % 2 + 1), str(int(number > 4)), "10.0 20.0 60.0 40.0")
        for key, value in zip(lists, row, strict=True):
            lists[key].append(f"{number} {value}")
    for key, lines in lists.items():
        (root / f"{key}.txt").write_text("\n".join(lines))
    (root / "classes.txt").write_text("".join(f"{i + 1} {name}\n" for i, name in enumerate(_BIRDS)))
    return root


def _crops(path: Path) -> Path:
    """Boxes of every photo of `_cub`, as a run's predictions have them."""
    rows = [f'images/{_BIRDS[number % 2]}/bird_{number}.jpg,"[[5, 5, 60, 50]]"' for number in range(1, 13)]
    path.write_text("\n".join(["id,boxes", *rows]) + "\n")
    return path
