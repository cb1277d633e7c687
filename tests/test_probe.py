"""`probe` from a user's side: a network that every other command takes, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import commands
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from voc_tree import random_scenes, write_voc

from cam_lightning import load, localize
from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.dataset.caltech101 import Caltech101
from cam_lightning.run.prediction_table import read_predictions

CLASSES = ("Faces", "accordion", "it's a yak")
COLOURS = ((230, 40, 40), (40, 220, 60), (50, 60, 240))
SIZE = (64, 96)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights and of photos with a patch of their class's colour, of three classes and the background."""
    folder = tmp_path_factory.mktemp("it's a = world, with photos")
    random = np.random.default_rng(0)
    for name, colour in zip((*CLASSES, "BACKGROUND_Google"), (*COLOURS, (0, 0, 0)), strict=True):
        (folder / "101_ObjectCategories" / name).mkdir(parents=True)
        for number in range(1, 9):
            height, width = (60, 100) if number % 2 else (96, 70)
            pixels = random.integers(90, 150, (height, width, 3), dtype=np.uint8)
            top, left = random.integers(5, 20, 2)
            pixels[top : top + 40, left : left + 45] = colour
            picture = Image.fromarray(cv2.blur(pixels, (5, 5)))
            picture.save(folder / "101_ObjectCategories" / name / f"image_{number:04d}.jpg")
    torch.manual_seed(0)
    torch.save(googlenet_gap(7, width=0.125).state_dict(), folder / "weights.pth")
    return folder


def options(world: Path, **further: Any) -> list[str]:
    given = {
        "dataset": "caltech101",
        "dataset.root": world,
        "dataset.train_per_class": 5,
        "dataset.image_size": f"[{SIZE[0]},{SIZE[1]}]",
        "dataset.batch_size": 4,
        "backbone": "googlenet_gap",
        "backbone.width": 0.125,
        "backbone.weights": world / "weights.pth",
        "features": world / "features",
        "paths.runs": world / "runs",
        "trainer": "cpu",
        **further,
    }
    return [f"{key}={value}" for key, value in given.items()]


def results_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run_dir(world: Path) -> Path:
    path = world / "probe"
    given = options(world, **{"classifier.c": 1, "classifier.max_iter": 20_000, "run_dir": path})
    commands.run("probe", *given, cwd=world)
    return path


def test_errors_are_those_of_the_network_that_comes_out(run_dir: Path, world: Path) -> None:
    results = results_of(run_dir)
    assert results["test/num_images"] == 9
    assert results["test/classification_error/top1"] < 0.5
    rows = list(read_predictions(run_dir / "predictions.csv"))
    wrong = [row for row in rows if not row.is_right]
    assert results["test/classification_error/top1"] == pytest.approx(len(wrong) / 9)
    by_class = [[not row.is_right for row in rows if row.label == label] for label in range(3)]
    expected = np.mean([np.mean(each) for each in by_class])
    assert results["test/classification_error/class_mean"] == pytest.approx(expected)
    assert results["protocol/train_images_per_class"] == [5, 5]
    assert results["protocol/features/num_computed"] == 24
    assert results["specs"]["test/classification_error/class_mean"]["kind"] == "share"
    assert (run_dir / "report.html").is_file()
    assert (run_dir / "overlays" / "test.png").is_file()


def test_its_rows_are_scikit_learn_s(run_dir: Path, world: Path) -> None:
    """Features and fit by other ways: one image after the other, and LinearSVC itself."""
    from sklearn.svm import LinearSVC

    data = Caltech101(root=str(world), train_per_class=5, test_per_class=50, image_size=SIZE, centre=0.875)
    train = data.chosen_splits().train
    assert train is not None
    network = googlenet_gap(7, width=0.125).eval()
    network.load_state_dict(torch.load(world / "weights.pth", weights_only=True))
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in network.normalization)
    features = []
    for index in range(len(train)):
        image = torch.from_numpy(train.read(index).image_HW3).permute(2, 0, 1)[None].float()
        seen = torch.nn.functional.interpolate(image, SIZE, mode="bilinear", antialias=True).round()
        with torch.no_grad():
            features.append(network.trunk((seen / 255 - mean) / std).mean((2, 3))[0].numpy())
    svm = LinearSVC(C=1, max_iter=20_000, random_state=0).fit(np.stack(features), train.label_N)
    found = load(run_dir).classifier
    # Less what all of them share, which no class is told by.
    assert found.weight.detach().numpy() == pytest.approx(svm.coef_ - svm.coef_.mean(0), abs=0.02)
    assert found.weight.std() > 0.05
    assert found.bias.detach().numpy() == pytest.approx(svm.intercept_ - svm.intercept_.mean(), abs=0.02)


def test_evaluate_predict_and_load_take_it(run_dir: Path, world: Path, tmp_path: Path) -> None:
    commands.run("evaluate", f"checkpoint={run_dir}", "trainer=cpu", f"run_dir={tmp_path / 'again'}", cwd=tmp_path)
    results, again = results_of(run_dir), results_of(tmp_path / "again")
    keys = [key for key in again if key.startswith("test/") and "loss" not in key]
    assert {key: again[key] for key in keys} == {key: results[key] for key in keys}
    assert (tmp_path / "again" / "predictions.csv").read_text() == (run_dir / "predictions.csv").read_text()
    photo = world / "101_ObjectCategories" / CLASSES[2] / "image_0003.jpg"
    commands.run("predict", f"images=['{str(photo).replace(chr(39), chr(92) + chr(39))}']", f"checkpoint={run_dir}",
                 f"run_dir={tmp_path / 'seen'}", cwd=tmp_path)  # fmt: skip
    (said,) = json.loads((tmp_path / "seen" / "predictions.json").read_text())["images"]
    network = load(run_dir)
    (found,) = localize(network, photo)
    assert found.names[0] == said["names"][0]
    assert sorted(network.recipe.class_names) == sorted(CLASSES)  # type: ignore[union-attr]


def test_normalised_features_stay_normalised_in_the_network(world: Path, tmp_path: Path) -> None:
    further = {"normalise": True, "classifier": "logistic_regression", "classifier.c": 10, "run_dir": tmp_path / "run"}
    commands.run("probe", *options(world, **further), cwd=tmp_path)
    commands.run(
        "evaluate", f"checkpoint={tmp_path / 'run'}", "trainer=cpu", f"run_dir={tmp_path / 'again'}", cwd=tmp_path
    )
    results, again = results_of(tmp_path / "run"), results_of(tmp_path / "again")
    assert again["test/classification_error/top1"] == results["test/classification_error/top1"]
    assert results["protocol/features/num_computed"] == 0
    network = load(tmp_path / "run")
    with torch.no_grad():
        output = network(torch.randn(2, 3, *SIZE))
        maps = network.class_maps(output, torch.arange(3).expand(2, -1))
    assert maps is not None
    torch.testing.assert_close(maps.mean((2, 3)) + network.classifier.bias, output.logits_BC)


def test_draws_give_mean_and_deviation_and_count_features_once(world: Path, run_dir: Path, tmp_path: Path) -> None:
    same = {"classifier.c": 1, "classifier.max_iter": 20_000, "test": False}
    further = {**same, "draws": "[0,1]", "run_dir": tmp_path / "run"}
    commands.run("probe", *options(world, **further), cwd=tmp_path)
    results = results_of(tmp_path / "run")
    single = {**same, "dataset.split_seed": 1, "run_dir": tmp_path / "second"}
    commands.run("probe", *options(world, **single), cwd=tmp_path)
    key = "test/classification_error/top1"
    errors = [results_of(run)[key] for run in (run_dir, tmp_path / "second")]
    assert results[key] == errors[0]
    assert results[f"{key}/mean"] == pytest.approx(np.mean(errors))
    assert results[f"{key}/deviation"] == pytest.approx(np.std(errors, ddof=1))
    assert results["specs"][f"{key}/mean"]["of"] == key
    assert results["protocol/features/num_computed"] == 0
    assert not (tmp_path / "run" / "predictions.csv").exists()


def test_another_layer_and_the_strength_by_cross_validation(world: Path, tmp_path: Path) -> None:
    further = {"layer": "trunk.inception3a", "classifier.cs": "[0.01,1]", "run_dir": tmp_path / "run"}
    done = commands.run("probe", *options(world, **further), cwd=tmp_path)
    assert "3-fold cross-validation" in done.stdout + done.stderr
    results = results_of(tmp_path / "run")
    assert set(results["protocol/classifier/cross_validation"]) == {"0.01", "1"}
    assert {key for key in results if key.startswith("protocol/classifier/")} == {
        f"protocol/classifier/{key}"
        for key in ("c", "c_of_each_split", "cross_validation", "cs", "folds", "max_iter", "seed", "centre")
    }
    assert results["protocol/features/num_computed"] == 24
    network = load(tmp_path / "run")
    assert network.classifier.in_features == 40
    assert next(iter(localize(network, np.zeros((50, 70, 3), np.uint8)))).map_Thw.shape == (3, 8, 12)


@pytest.mark.slow
def test_a_trained_run_can_be_probed(world: Path, run_dir: Path, tmp_path: Path) -> None:
    """A checkpoint whose method changes nothing of its network; one that is a probe itself has the same features."""
    small = ["dataset=shapes", "dataset.num_train=40", "dataset.num_test=20", "dataset.image_size=64",
             "dataset.augmentation.resize=72", "dataset.augmentation.crop=64", "dataset.batch_size=4",
             "backbone=googlenet_gap", "backbone.width=0.125", "trainer=cpu", "trainer.max_epochs=1"]  # fmt: skip
    commands.run("train", *small, f"run_dir={tmp_path / 'trained'}", cwd=tmp_path)
    given = [each for each in options(world, **{"classifier.c": 1, "test": False}) if not each.startswith("backbone")]
    commands.run("probe", f"checkpoint={tmp_path / 'trained'}", *given, f"run_dir={tmp_path / 'run'}", cwd=tmp_path)
    assert load(tmp_path / "run").num_classes == 3
    again = ["classifier.max_iter=20000", f"run_dir={tmp_path / 'again'}"]
    commands.run("probe", f"checkpoint={run_dir}", *given, *again, cwd=tmp_path)
    assert results_of(tmp_path / "again")["protocol/features/num_computed"] == 0
    assert load(tmp_path / "again").classifier.weight.equal(load(run_dir).classifier.weight)


@pytest.mark.slow
def test_a_run_of_several_classes_an_image_can_be_probed_by_such_data_and_by_others(
    world: Path, tmp_path: Path
) -> None:
    """Its method leaves all layers alone; each answer is then for its label alone, as the data ask."""
    write_voc(tmp_path / "voc/VOC2007", {"trainval": random_scenes(16, 0), "test": random_scenes(9, 1, 500)})
    voc = ["dataset=pascal_voc", f"dataset.root={tmp_path / 'voc'}", "dataset.image_size=[48,64]",
           "dataset.batch_size=8", "trainer=cpu"]  # fmt: skip
    commands.run("train", *voc, "backbone.width=0.125", "method=multi_label", "trainer.max_epochs=1",
                 f"run_dir={tmp_path / 'trained'}", cwd=tmp_path)  # fmt: skip
    checkpoint = f"checkpoint={tmp_path / 'trained'}"
    given = ["trainer=cpu", "classifier=logistic_regression", "classifier.c=1", f"features={tmp_path / 'features'}"]
    commands.run("probe", checkpoint, *given, f"run_dir={tmp_path / 'probe'}", cwd=tmp_path)
    # A probe is probed like any other run.
    commands.run("probe", f"checkpoint={tmp_path / 'probe'}", *given, f"run_dir={tmp_path / 'again'}", cwd=tmp_path)
    assert results_of(tmp_path / "again")["test/num_images"] == 9
    assert results_of(tmp_path / "again")["protocol/features/num_computed"] == 0
    others = [each for each in options(world, test=False) if not each.startswith(("backbone", "features"))]
    commands.run("probe", checkpoint, *others, *given[1:], f"run_dir={tmp_path / 'other'}", cwd=tmp_path)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    for run, is_apart in (("trained", True), ("probe", True), ("again", True), ("other", False)):
        (found,) = localize(load(tmp_path / run), photo)
        assert len(found.probability_T) == 3
        assert (abs(float(found.probability_T.sum()) - 1) > 1e-3) == is_apart, run


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ({"backbone.weights": "none"}, "no network to probe: give checkpoint=RUN, or backbone.weights="),
        ({"layer": "trunk.inceptoin3a"}, "layer=trunk.inceptoin3a is no layer that a probe can read"),
        ({"draws": "[0]"}, "draws are two splits or more"),
        ({"dataset": "shapes", "draws": "[0,1]"}, "this dataset's split is fixed; leave draws out"),
        ({"dataset.train_per_class": 2}, "a class has 2 training images, and C is chosen by 3-fold"),
        ({"dataset.train_per_class": 8}, "none is left to test on beside dataset.train_per_class=8"),
        ({"classifier.c": -1}, "classifier.c is above 0"),
        (
            {"method": "acol"},
            "the method adds layers to the network: a probe reads one that is as its backbone builds it",
        ),
    ],
)
def test_bad_input_gets_one_line(world: Path, tmp_path: Path, further: dict[str, Any], message: str) -> None:
    given = options(world, **further)
    if further.get("dataset") == "shapes":
        given = [each for each in given if not each.startswith(("dataset.root", "dataset.train"))]
    done = commands.run("probe", *given, cwd=tmp_path, check=False)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line


def test_weights_that_leave_a_layer_at_random_are_refused(world: Path, tmp_path: Path) -> None:
    state = torch.load(world / "weights.pth", weights_only=True)
    torch.save({name: value for name, value in state.items() if "cam_conv" not in name}, tmp_path / "part.pth")
    given = options(world, **{"backbone.weights": tmp_path / "part.pth"})
    done = commands.run("probe", *given, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "a probe needs all layers but the classifier to be trained" in done.stderr


def test_a_run_goes_on_where_its_features_were_cut_off(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    whole = {"classifier.c": 1, "features": folder, "test": False, "run_dir": tmp_path / "whole"}
    commands.run("probe", *options(world, **whole), cwd=tmp_path)
    (file,) = [path for path in folder.glob("*.features") if path.stat().st_size % 24 == 0][:1]
    size = file.stat().st_size // 24
    for path in folder.glob("*.features"):
        path.write_bytes(path.read_bytes()[: 10 * size + 7])
    further = {"classifier.c": 1, "features": folder, "test": False, "run_dir": tmp_path / "run"}
    commands.run("probe", *options(world, **further), cwd=tmp_path)
    assert 0 < results_of(tmp_path / "run")["protocol/features/num_computed"] < 24
