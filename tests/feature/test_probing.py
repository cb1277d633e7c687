"""Splits fitted and scored: several labels at once, images that cannot be read, mean and deviation over draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import scipy.io
import torch
from labelled_tree import cells, labelled
from PIL import Image
from sklearn.metrics import average_precision_score

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.classifier.linear_svm import LinearSvm
from cam_lightning.dataset.caltech101 import Caltech101
from cam_lightning.dataset.sun_attribute import SunAttribute
from cam_lightning.feature.probing import lengths_one, over_draws, probed
from cam_lightning.feature.reader import FeatureReader

ATTRIBUTES = ["red", "green", "bright"]


def reader_of(tmp_path: Path) -> FeatureReader:
    torch.manual_seed(0)
    return FeatureReader(googlenet_gap(3, width=0.125), (64, 96), tmp_path / "features", "googlenet_gap")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Photos of one colour each, which says what holds of them; of every fifth nobody is sure whether it is green."""
    random = np.random.default_rng(0)
    root = tmp_path / "SUNAttributeDB"
    paths, votes = [], []
    for number in range(30):
        colour = random.integers(0, 256, 3)
        path = f"a/abbey/sun_{number:016d}.jpg"
        (root / "images" / "a" / "abbey").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((60, 80, 3), colour, np.uint8)).save(root / "images" / path)
        paths.append(path)
        votes.append([colour[0] > 128, 1 / 3 if number % 5 == 0 else colour[1] > 128, colour.sum() > 380])
    scipy.io.savemat(root / "images.mat", {"images": cells(paths)})
    scipy.io.savemat(root / "attributes.mat", {"attributes": cells(ATTRIBUTES)})
    scipy.io.savemat(root / "attributeLabels_continuous.mat", {"labels_cv": np.array(votes, float)})
    return root


def test_several_labels_get_their_average_precision(scenes: Path, tmp_path: Path) -> None:
    data = SunAttribute(root=str(scenes), test_fraction=0.4, image_size=(64, 96), num_workers=0)
    data.setup()
    reader = reader_of(tmp_path)
    found = probed(reader, data, LinearSvm(c=1), normalise=False)
    test = data.examples["test"].split
    assert test.target_NC is not None
    scores = found.rows.of(reader.read(test, data.batches_of, "test"))
    each = []
    for column in range(3):
        known = ~np.isnan(test.target_NC[:, column])
        each.append(average_precision_score(test.target_NC[known, column], scores[known, column]))
    assert np.isnan(test.target_NC).any()
    assert found.numbers == {"average_precision/mean": pytest.approx(np.mean(each)), "num_images": len(test)}
    assert found.numbers["average_precision/mean"] > 0.8
    assert found.specs["average_precision/mean"].better == "higher"


def test_the_command_says_so_and_keeps_a_network_of_all_labels(scenes: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(googlenet_gap(3, width=0.125).state_dict(), tmp_path / "weights.pth")
    given = {
        "dataset": "sun_attribute",
        "dataset.root": scenes,
        "dataset.test_fraction": 0.4,
        "dataset.image_size": "[64,96]",
        "backbone": "googlenet_gap",
        "backbone.width": 0.125,
        "backbone.weights": tmp_path / "weights.pth",
        "classifier.c": 1,
        "draws": "[0,3]",
        "features": tmp_path / "features",
        "run_dir": tmp_path / "run",
    }
    done = commands.run("probe", *(f"{key}={value}" for key, value in given.items()), cwd=tmp_path)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert 0.5 < results["test/average_precision/mean"] <= 1
    assert "test/average_precision/mean/deviation" in results
    assert not any("classification_error" in key for key in results)
    assert "average precision" in done.stdout
    rows = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert rows["network.classifier.weight"].shape[0] == 3


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("Faces", "accordion"):
        for number in range(6):
            path = tmp_path / "objects" / name / f"image_{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    return tmp_path / "objects"


def data_of(root: Path, **options: Any) -> Caltech101:
    data = Caltech101(root=str(root), train_per_class=3, image_size=(64, 96), num_workers=0, **options)
    data.setup()
    return data


def test_all_training_images_count_and_none_is_held_out(objects: Path, tmp_path: Path) -> None:
    data = data_of(objects, val_fraction=0.5)
    assert len(data.examples["train"]) < 6
    seen: list[int] = []

    def classifier(features: np.ndarray, target: np.ndarray, num_classes: int) -> Any:
        seen.append(len(features))
        return LinearSvm(c=1)(features, target, num_classes)

    found = probed(reader_of(tmp_path), data, classifier, normalise=True)
    assert seen == [6]
    assert found.train_images == (3, 3)
    fewer = data_of(objects, images_per_class=2)
    assert probed(reader_of(tmp_path), fewer, classifier, normalise=True).train_images == (2, 2)


def test_what_cannot_be_read_trains_and_tests_nothing(objects: Path, tmp_path: Path) -> None:
    data = data_of(objects, on_bad_image="skip")
    train, test = data.chosen_splits().train, data.examples["test"].split
    assert train is not None
    for split in (train, test):
        (objects / split.ids[0]).write_bytes(b"no photo")
    found = probed(reader_of(tmp_path), data, LinearSvm(c=1), normalise=False)
    assert found.train_images == (2, 3)
    assert found.numbers["num_images"] == 5
    assert len(labelled(test, data.class_names)) == 6


def test_lengths_are_one_and_nothing_is_divided_by_zero() -> None:
    rows = lengths_one(np.array([[3, 4], [0, 0]], np.float32))
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    assert rows.dtype == np.float32


def test_mean_and_deviation_over_draws(objects: Path, tmp_path: Path) -> None:
    outcomes = [
        probed(reader_of(tmp_path), data_of(objects, split_seed=seed), LinearSvm(c=1), normalise=False)
        for seed in range(4)
    ]
    values = [outcome.numbers["classification_error/top1"] for outcome in outcomes]
    numbers, specs = over_draws(outcomes)
    assert np.std(values) > 0
    assert numbers["classification_error/top1/mean"] == pytest.approx(np.mean(values))
    assert numbers["classification_error/top1/deviation"] == pytest.approx(np.std(values, ddof=1))
    assert numbers.keys() == specs.keys()
    assert "num_images/mean" not in numbers
    assert specs["classification_error/top1/deviation"].better is None
