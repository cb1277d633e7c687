"""`experiments.table5` and its rows: each runs on a small tree in its data's official layout; what the table says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from labelled_tree import cells
from PIL import Image
from test_build import composed

from cam_lightning import probe
from cam_lightning.backbone.alexnet import alexnet
from cam_lightning.backbone.googlenet import googlenet
from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.place import CONF
from experiments.table5 import ERROR, NETWORKS, PAPER, PRECISION, jobs, markdown, named, results

ROWS = CONF / "experiment" / "paper"
BUILDERS: dict[str, Callable[..., Any]] = {
    "alexnet": alexnet,
    "googlenet": googlenet,
    "googlenet_gap": googlenet_gap,
}


def _photos(root: Path, paths: list[str]) -> None:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(number)
        Image.fromarray(random.integers(0, 256, (70, 96, 3), np.uint8)).save(root / path)


def _folders(root: Path, *classes: str) -> list[str]:
    """Six photos of each class, in its folder; four of each train."""
    _photos(root, [f"{name}/image_{number:04d}.jpg" for name in classes for number in range(1, 7)])
    return ["dataset.train_per_class=4"]


def _sun397(root: Path) -> list[str]:
    photos = {name: [f"/{name}/sun_{letter * 16}.jpg" for letter in "abcdef"] for name in ("a/abbey", "b/bar/indoor")}
    _photos(root, [path[1:] for paths in photos.values() for path in paths])
    (root / "Partitions").mkdir()
    (root / "Partitions" / "ClassName.txt").write_text("".join(f"/{name}\n" for name in photos))
    for partition in range(1, 11):
        for stem, part in (("Training", slice(4)), ("Testing", slice(4, 6))):
            lines = "\n".join(path for paths in photos.values() for path in paths[part])
            (root / "Partitions" / f"{stem}_{partition:02d}.txt").write_text(lines)
    return []


def _indoor(root: Path) -> list[str]:
    photos = [f"{name}/{name} {number}.jpg" for name in ("mall", "garage") for number in range(6)]
    _photos(root / "Images", photos)
    for file, chosen in (("TrainImages.txt", range(4)), ("TestImages.txt", range(4, 6))):
        (root / file).write_text("\n".join(path for path in photos if int(path[-5]) in chosen))
    return []


def _actions(root: Path) -> list[str]:
    photos = [f"{name}_{number:03d}.jpg" for name in ("applauding", "writing_on_a_book") for number in range(6)]
    _photos(root / "JPEGImages", photos)
    (root / "ImageSplits").mkdir()
    for part, chosen in (("train", range(4)), ("test", range(4, 6))):
        names = "".join(f"{path}\n" for path in photos if int(path[-5]) in chosen)
        (root / "ImageSplits" / f"{part}.txt").write_text(names)
    return []


def _attributes(root: Path) -> list[str]:
    paths = [f"a/abbey/sun_{number:016d}.jpg" for number in range(20)]
    _photos(root / "images", paths)
    votes = np.random.default_rng(0).integers(0, 2, (20, 3)).astype(float)
    scipy.io.savemat(root / "images.mat", {"images": cells(paths)})
    scipy.io.savemat(root / "attributes.mat", {"attributes": cells(["dry", "dirt", "still water"])})
    scipy.io.savemat(root / "attributeLabels_continuous.mat", {"labels_cv": votes})
    return ["dataset.test_fraction=0.4"]


TREES: dict[str, Callable[[Path], list[str]]] = {
    "sun397": _sun397,
    "mit_indoor67": _indoor,
    "scene15": lambda root: _folders(root, "bedroom", "MITcoast"),
    "sun_attribute": _attributes,
    "caltech101": lambda root: _folders(root, "accordion", "Faces", "BACKGROUND_Google"),
    "caltech256": lambda root: _folders(root, "001.ak47", "002.american-flag", "257.clutter"),
    "stanford_action40": _actions,
    "uiuc_event8": lambda root: _folders(root, *(f"event {number}" for number in range(8))),
}
"""What writes each dataset's tree, and the options that its size needs."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a file of a network's random weights, once for each."""
    folder = tmp_path_factory.mktemp("weights, it's = random")

    def write(name: str) -> Path:
        file = folder / f"{name}.pth"
        if not file.is_file():
            torch.manual_seed(0)
            torch.save(
                {key: value.half() for key, value in BUILDERS[name](5, variant="caffe").state_dict().items()}, file
            )
        return file

    return write


def test_every_dataset_and_network_of_the_paper_has_a_row() -> None:
    assert {path.stem for path in ROWS.glob("table5_*.yaml")} == {f"table5_{dataset}" for dataset in PAPER}
    assert {path.stem for path in (ROWS / "table5_network").glob("*.yaml")} == set(NETWORKS)
    for dataset, figures in PAPER.items():
        header = (ROWS / f"table5_{dataset}.yaml").read_text().partition("defaults:")[0]
        assert all(f"{figure:.2f}" in header for figure in figures), dataset


@pytest.mark.parametrize(
    ("dataset", "network"),
    [
        *((dataset, "googlenet") for dataset in PAPER),
        ("mit_indoor67", "googlenet_gap"),
        pytest.param("mit_indoor67", "alexnet", marks=pytest.mark.slow),
    ],
)
def test_a_row_runs(dataset: str, network: str, weights: Callable[[str], Path], tmp_path: Path) -> None:
    root = tmp_path / dataset
    root.mkdir()
    small = ["dataset.image_size=64", "dataset.batch_size=4", "dataset.num_workers=0", "device=cpu"]
    (job,) = jobs(tmp_path, {dataset: root}, {network: weights(network)}, [*small, *TREES[dataset](root)])
    entry, *overrides = job.command
    assert entry == "probe"
    # As the command line reads a path with an apostrophe.
    overrides = [option for option in overrides if not option.startswith("backbone.weights=")]
    config = composed(*overrides, f"run_dir={job.path}", name=entry)
    config.backbone.weights = str(weights(network))
    assert config.backbone["_target_"].endswith(f"{network}.{network}")
    assert config.backbone.variant == "caffe"
    probe.run(config, RunDirectory.create(tmp_path, "run", job.path))
    found = json.loads((job.path / "results.json").read_text())
    assert found["test/num_images"] == {"sun_attribute": 7, "uiuc_event8": 16}.get(dataset, 4)
    assert sum(key in found for key in (ERROR, PRECISION)) == 1
    assert (config.draws is None) == ("protocol/draws" in found and found["protocol/draws"] is None)
    value, deviation = results(tmp_path)[dataset, network]
    assert 0 <= value <= 100
    assert (deviation is None) == (config.draws is None)
    assert len(list((tmp_path / "features").glob(f"{network}-*.features"))) == 1


def _finished(path: Path, **numbers: float) -> None:
    path.mkdir(parents=True)
    (path / "results.json").write_text(json.dumps({f"test/{key}": value for key, value in numbers.items()}))


def test_the_table_sets_ours_beside_the_paper_s(tmp_path: Path) -> None:
    error = "classification_error/top1"
    drawn = {error: 0.5, f"{error}/mean": 0.116, f"{error}/deviation": 0.0049}
    _finished(tmp_path / "scene15" / "googlenet", **drawn)
    _finished(tmp_path / "mit_indoor67" / "alexnet", **{error: 0.4})
    _finished(tmp_path / "sun_attribute" / "googlenet", **{"average_precision/mean": 0.875})
    lines = markdown(results(tmp_path)).splitlines()
    assert "| scene15 | – (84.23) | 88.4 ± 0.5 (88.02) | – (88.30) |" in lines
    assert "| mit_indoor67 | 60.0 (56.79) | – (66.63) | – (66.61) |" in lines
    assert "| sun_attribute | – (84.23) | 87.5 (92.85) | – (92.21) |" in lines
    assert len([line for line in lines if line.startswith("| ")]) == 10


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"roots: expected NAME=PATH, with NAME one of sun397, .*; got scen15=/"):
        named([f"scen15={tmp_path}"], PAPER, "roots")
    with pytest.raises(ValueError, match=r"--weights: alexnet: there is no .*none.pth"):
        named([f"alexnet={tmp_path / 'none.pth'}"], NETWORKS, "--weights")
    assert list(named([f"uiuc_event8={tmp_path}", f"sun397={tmp_path}"], PAPER, "roots")) == ["sun397", "uiuc_event8"]


@pytest.mark.slow
def test_the_command_runs_what_is_missing_and_goes_on_after_what_fails(
    weights: Callable[[str], Path], tmp_path: Path
) -> None:
    roots = {name: tmp_path / f"it's {name}" for name in ("mit_indoor67", "stanford_action40", "sun397")}
    for root in roots.values():
        root.mkdir()
    for name in ("mit_indoor67", "sun397"):
        TREES[name](roots[name])
    small = ["dataset.image_size=64", "dataset.num_workers=0", "device=cpu", "dataset.batch_size=4"]
    command = [
        sys.executable, "-m", "experiments.table5", str(tmp_path / "table"),
        *(f"{name}={root}" for name, root in roots.items()),
        "--weights", f"googlenet={weights('googlenet')}", "--options", *small,
    ]  # fmt: skip
    place = {**os.environ, "PYTHONPATH": str(CONF.parent), "COLUMNS": "150"}
    done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "JPEGImages, ImageSplits" in done.stderr
    assert "error: not all runs have ended well" in done.stderr.splitlines()[-1]
    found = results(tmp_path / "table")
    assert set(found) == {("mit_indoor67", "googlenet"), ("sun397", "googlenet")}
    assert (tmp_path / "table" / "table5.md").read_text().count("–") == 22
    before = (tmp_path / "table/sun397/googlenet/results.json").stat().st_mtime_ns
    TREES["stanford_action40"](roots["stanford_action40"])
    done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "table/sun397/googlenet/results.json").stat().st_mtime_ns == before
    assert len(results(tmp_path / "table")) == 3
