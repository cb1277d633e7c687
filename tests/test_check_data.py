"""Checking a folder from the command's side, and training on one that holds a broken photo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image

from cam_lightning import check_data, evaluate, resize_data, train
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE

VOC = (
    "<annotation><size><width>60</width><height>40</height></size><object><name>{name}</name>"
    "<bndbox><xmin>5</xmin><ymin>8</ymin><xmax>44</xmax><ymax>30</ymax></bndbox></object></annotation>"
)
TINY = (
    "backbone=squeezenet_gap",
    "dataset.image_size=32",
    "dataset.batch_size=2",
    "dataset.augmentation.resize=40",
    "dataset.augmentation.crop=32",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "callback=localization",
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, three training and three test images each, with VOC boxes."""
    root = tmp_path / "photos"
    for number, (split, name, file) in enumerate(
        (split, name, file) for split in ("train", "test") for name in ("cat", "dog") for file in "abc"
    ):
        path = root / "images" / split / name / f"{file}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        annotation = root / "annotations" / split / name / f"{file}.xml"
        annotation.parent.mkdir(parents=True, exist_ok=True)
        annotation.write_text(VOC.format(name=name))
    return root


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs an entry point in this process, in a run directory of its own."""
    monkeypatch.setenv(RUN_DIR_VARIABLE, "")
    register_resolvers()

    def run(entry: Any, *overrides: str) -> Path:
        with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
            config: DictConfig = hydra.compose(entry.__name__.rpartition(".")[2], overrides=list(overrides))
        folder = RunDirectory.create(tmp_path / "runs", "job")
        config.run_dir = str(folder.path)
        try:
            entry.run(config, folder)
        finally:
            run.folder = folder.path  # type: ignore[attr-defined]
        return folder.path

    return run


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_a_sound_folder(photos: Path, job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = job(check_data, "dataset=folder", f"dataset.root={photos}", "dataset.format=voc", "deep=true")
    text = capsys.readouterr().out
    assert text.strip() == (folder / "check.txt").read_text().strip()
    assert "Nothing is wrong." in text
    assert "  cat: 3 train, 3 test" in text
    report = json.loads((folder / "check.json").read_text())
    assert report["is_wrong"] is False
    assert report["splits"]["test"] == {
        "num_images": 6, "num_boxes": 6, "num_without_box": 0, "num_overhanging": 0,
        "num_per_class": {"cat": 3, "dog": 3}, "traits": {},
    }  # fmt: skip
    sheet = np.asarray(Image.open(folder / "samples.png"))
    assert (sheet == (0, 229, 255)).all(2).any(), "boxes are drawn"


def test_a_truncated_photo_is_named_by_the_check(photos: Path, job: Any) -> None:
    truncate(photos / "images/test/dog/b.jpg")
    with pytest.raises(ValueError, match="found wrong with the data: 1, and all of it is in "):
        job(check_data, "dataset=folder", f"dataset.root={photos}", "dataset.format=voc")
    text = (job.folder / "check.txt").read_text()
    assert "wrong: unreadable (1)" in text
    assert f"{photos}/images/test/dog/b.jpg is truncated" in text


@pytest.mark.parametrize(
    ("first", "length", "deep"), [(0.4, 200, True), (0.6, 64, True), (0.8, 400, True), (0.5, 99, False)]
)
def test_zeroed_blocks_of_a_photo_are_found(first: float, length: int, deep: bool, photos: Path, job: Any) -> None:
    """As a disk that fails leaves them; its header is whole, and decoders show noise without a word."""
    asked = ("dataset=folder", f"dataset.root={photos}", "dataset.format=voc", f"deep={deep}")
    job(check_data, *asked)
    broken = photos / "images/train/dog/c.jpg"
    whole = broken.read_bytes()
    place = int(first * len(whole))
    broken.write_bytes(whole[:place] + bytes(length) + whole[place + length :])
    with pytest.raises(ValueError, match="found wrong with the data: 1, and all of it is in "):
        job(check_data, *asked)
    text = (job.folder / "check.txt").read_text()
    assert "wrong: unreadable (1)" in text
    assert f"{broken} cannot be read as an image" in text
    assert "it is damaged: zeros lie where" in text


def test_what_is_not_there_is_said_as_the_dataset_says_it(tmp_path: Path, job: Any) -> None:
    with pytest.raises(ValueError, match="found wrong with the data: 1"):
        job(check_data, "dataset=tiny_imagenet", f"dataset.root={tmp_path}")
    assert "Fetch tiny-imagenet-200.zip" in (job.folder / "check.txt").read_text()


@pytest.mark.parametrize("entry", [pytest.param(train, marks=pytest.mark.slow), evaluate])
def test_a_truncated_photo_stops_or_is_skipped(entry: Any, photos: Path, job: Any, tmp_path: Path) -> None:
    truncate(photos / "images/test/dog/b.jpg")
    truncate(photos / "images/train/cat/a.jpg")
    overrides = [*TINY, "dataset=folder", f"dataset.root={photos}", "dataset.format=voc"]
    if entry is evaluate:
        # Weights of a run that had no broken photo in its way.
        weights = _weights(tmp_path)
        overrides += [f"backbone.weights={weights}", "dataset.class_index={cat: 1, dog: 0}"]
    with pytest.raises(OSError, match=r"(test/dog/b|train/cat/a)\.jpg cannot be read"):
        job(entry, *overrides)
    folder = job(entry, *overrides, "dataset.on_bad_image=skip")
    results = results_of(folder)
    assert (results["test/num_images"], results["test/num_skipped_images"]) == (5, 1)
    assert results["protocol/skipped_images/test"] == ["test/dog/b.jpg"]
    assert 0 <= results["test/localization_error/top1"] <= 1
    if entry is train:
        assert results["protocol/skipped_images/train"] == ["train/cat/a.jpg"]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_count_every_image_once_or_as_skipped(processes: int, photos: Path, tmp_path: Path) -> None:
    """Seven images divide by neither; in batches of one, the broken image's batch holds nothing."""
    (photos / "images/test/dog/d.jpg").write_bytes((photos / "images/test/dog/a.jpg").read_bytes())
    (photos / "annotations/test/dog/d.xml").write_text(VOC.format(name="dog"))
    truncate(photos / "images/test/dog/b.jpg")
    results = []
    for count in (1, processes):
        folder = tmp_path / f"run {count}"
        command = [
            *(sys.executable, "-m", "cam_lightning.evaluate", *TINY, "dataset=folder", "dataset.batch_size=1"),
            *(f"dataset.root={photos}", "dataset.format=voc", "dataset.on_bad_image=skip", f"trainer.devices={count}"),
            *(f"backbone.weights={_weights(tmp_path)}", "dataset.class_index={cat: 1, dog: 0}", f"run_dir={folder}"),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        results.append(results_of(folder))
        assert "dog/b.jpg" in (folder / "log.txt").read_text()
        rows = (folder / "predictions.csv").read_text().splitlines()
        assert len(rows) == 1 + 6
    one, several = ({key: value for key, value in result.items() if "test/" in key} for result in results)
    assert (one["test/num_images"], one["test/num_skipped_images"]) == (6, 1)
    assert one.pop("test/loss") == pytest.approx(several.pop("test/loss"))
    assert one == several


def test_without_boxes_localization_is_not_available_and_not_zero(
    photos: Path, job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = job(train, *TINY, "dataset=folder", f"dataset.root={photos}")
    results = results_of(folder)
    assert not [key for key in results if key.startswith("test/") and ("localization" in key or "gt_known" in key)]
    assert results["test/num_images"] == 6
    assert "localization: not available" in capsys.readouterr().out


def test_the_copy_is_read_with_what_the_command_says(
    photos: Path, job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="resize_data needs to=FOLDER"):
        job(resize_data, "dataset=folder", f"dataset.root={photos}")
    to = tmp_path / "small"
    job(resize_data, "dataset=folder", f"dataset.root={photos}", "dataset.format=voc", f"to={to}", "short_side=20")
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f"read them with: dataset=folder dataset.root={to} dataset.format=csv"
    folder = job(check_data, *line.partition("with: ")[2].split(), "samples=0")
    assert json.loads((folder / "check.json").read_text())["splits"]["train"]["num_boxes"] == 6
    assert not (folder / "samples.png").exists()


def _weights(folder: Path) -> Path:
    """Random weights of a network of two classes, as a file."""
    import torch

    from cam_lightning.backbone.squeezenet_gap import squeezenet_gap

    path = folder / "weights.pth"
    torch.manual_seed(0)
    torch.save(squeezenet_gap(num_classes=2, weights="none").state_dict(), path)
    return path
