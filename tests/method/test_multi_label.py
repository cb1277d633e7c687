"""Several classes an image: the loss against a plain loop, what is evaluated, and what the others are refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from toy_batch import batch_of
from voc_tree import COLOURS, random_scenes, write_voc

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import Batch, ClassifierOutput
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage, Splits, once_per_image
from cam_lightning.localization.localizer import Localizer
from cam_lightning.method.classification import Classification
from cam_lightning.method.cutmix import CutMix
from cam_lightning.method.multi_label import MultiLabel, independent_classes
from cam_lightning.method.schedule import constant
from cam_lightning.run.prediction_table import read_predictions

NUM_CLASSES = 6


class SeveralSplit(ImageSplit):
    """Noise, 12 high and 20 wide, of one to three classes each, an entry for each; of some classes it is not known."""

    def __init__(self, name: str, seed: int, count: int) -> None:
        random = np.random.default_rng(seed)
        shown_NC = np.zeros((count, NUM_CLASSES), np.float32)
        for image in range(count):
            shown_NC[image, random.permutation(NUM_CLASSES)[: 1 + image % 3]] = 1
            shown_NC[image, image % NUM_CLASSES] = 1
            if image % 4 == 0:
                shown_NC[image, np.flatnonzero(shown_NC[image] == 0)[0]] = np.nan
        pairs = [(image, int(label)) for image in range(count) for label in np.flatnonzero(shown_NC[image] == 1)]
        self.image_N = np.array([image for image, _ in pairs])
        self.label_N = np.array([label for _, label in pairs])
        self.target_NC = shown_NC[self.image_N]
        self.ids = [f"{name}/{image}/{label}" for image, label in pairs]
        self.images = random.integers(0, 256, (count, 12, 20, 3), dtype=np.uint8)

    def read(self, index: int) -> RawImage:
        return RawImage(self.images[self.image_N[index]], np.zeros((0, 4), np.float32))


class SeveralData(LocalizationDataModule):
    """36 images to train on, a third of each first class of them held out, 17 to test on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(image_size=(12, 20), num_workers=0, val_fraction=1 / 3, batch_size=5, **options)

    def read_splits(self) -> Splits:
        return Splits([f"c{i}" for i in range(NUM_CLASSES)], SeveralSplit("train", 0, 36), SeveralSplit("test", 1, 17))


@pytest.fixture
def method(network: Any) -> Any:
    def make(kind: type[Classification] = MultiLabel, **options: Any) -> Classification:
        marked = independent_classes(network) if kind is MultiLabel else network
        return kind(marked, torch.optim.SGD, constant, learning_rate=0.1, **options)

    return make


def logits_and_classes() -> tuple[list[list[float]], list[list[int]]]:
    random = np.random.default_rng(3)
    logits = (random.normal(size=(4, NUM_CLASSES)) * 4).tolist()
    classes = random.choice([0, 1, 255], (4, NUM_CLASSES), p=[0.5, 0.3, 0.2]).tolist()
    assert {value for row in classes for value in row} == {0, 1, 255}
    return logits, classes


def asked(logits: Sequence[Sequence[float]], classes: list[list[int]] | None) -> tuple[ClassifierOutput, Batch]:
    batch = batch_of(torch.zeros(len(logits), 3, 4, 6), [2, 0, 5, 1])
    classes_BC = None if classes is None else torch.tensor(classes, dtype=torch.uint8)
    return (
        ClassifierOutput(torch.tensor(logits), torch.zeros(len(logits), 1, 1, 1)),
        batch._replace(truth=batch.truth._replace(classes_BC=classes_BC)),
    )


def of_one(logit: float, holds: bool, smoothing: float = 0.0) -> float:
    """Minus the logarithm of a sigmoid's answer, mixed where the target is."""
    yes, no = math.log1p(math.exp(-logit)), math.log1p(math.exp(logit))
    target = (1 - smoothing / 2) if holds else smoothing / 2
    return target * yes + (1 - target) * no


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_equals_a_plain_loop(method: Any, smoothing: float) -> None:
    logits, classes = logits_and_classes()
    known = [(image, label) for image in range(4) for label in range(NUM_CLASSES) if classes[image][label] != 255]
    terms = [of_one(logits[image][label], classes[image][label] == 1, smoothing) for image, label in known]
    output, batch = asked(logits, classes)
    learner = method(label_smoothing=smoothing)
    assert learner.loss(output, batch).total.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    each_B = learner.evaluation_loss(output, batch.truth)
    for image in range(4):
        own = [of_one(logits[image][label], classes[image][label] == 1) for i, label in known if i == image]
        assert each_B[image].item() == pytest.approx(sum(own) / len(own), rel=1e-5)


def test_with_one_label_an_image_that_one_holds_alone(method: Any) -> None:
    logits, _ = logits_and_classes()
    output, batch = asked(logits, None)
    labels = batch.truth.label_B.tolist()
    terms = [of_one(logits[i][c], c == labels[i]) for i in range(4) for c in range(NUM_CLASSES)]
    assert method().loss(output, batch).total.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_what_is_not_known_has_no_gradient(method: Any) -> None:
    logits, classes = logits_and_classes()
    output, batch = asked(logits, classes)
    logits_BC = output.logits_BC.requires_grad_()
    method().loss(output, batch).total.backward()
    assert logits_BC.grad is not None
    assert torch.equal(logits_BC.grad == 0, torch.tensor(classes) == 255)


def expected_numbers(method: Classification, split: ImageSplit) -> dict[str, float]:
    """By scikit-learn and plain loops, of a network's logits."""
    score = pytest.importorskip("sklearn.metrics").average_precision_score
    once = once_per_image(split)
    mean, std = (torch.tensor(each)[:, None, None] for each in method.network.normalization)
    images = [torch.from_numpy(once.read(i).image_HW3).permute(2, 0, 1) / 255 for i in range(len(once))]
    with torch.no_grad():
        logits_NC = method.network.eval()((torch.stack(images) - mean) / std).logits_BC.numpy()
    assert once.target_NC is not None
    precision = []
    for c in range(NUM_CLASSES):
        known = ~np.isnan(once.target_NC[:, c])
        precision.append(score(once.target_NC[known, c], logits_NC[known, c]))
    losses = []
    for row in once.image_N[np.searchsorted(once.image_N, split.image_N)].tolist():
        position = int(np.flatnonzero(once.image_N == row)[0])
        own = [
            of_one(float(logits_NC[position, c]), once.target_NC[position, c] == 1)
            for c in range(NUM_CLASSES)
            if not np.isnan(once.target_NC[position, c])
        ]
        losses.append(sum(own) / len(own))
    return {"average_precision/mean": float(np.mean(precision)), "loss": float(np.mean(losses))}


def test_it_trains_and_evaluates_all_classes(method: Any, trainer: Any) -> None:
    learner, data = method(), SeveralData()
    fitter = trainer(max_epochs=2)
    fitter.fit(learner, datamodule=data)
    numbers = {key: float(value) for key, value in fitter.callback_metrics.items()}
    assert numbers["val/average_precision/num_images"] == len(data.images_of("val")) < len(data.examples["val"])
    (tested,) = trainer().test(learner, datamodule=data, verbose=False)
    split = data.examples["test"].split
    assert tested["test/average_precision/num_images"] == 17 < tested["test/num_images"] == len(split)
    for key, value in expected_numbers(learner, split).items():
        assert tested[f"test/{key}"] == pytest.approx(value, rel=1e-4), key
    assert {"average_precision/mean", "average_precision/num_images"} <= learner.evaluated_keys()
    assert learner.specs["test/average_precision/num_images"].of == "test/average_precision/mean"


def test_of_one_label_an_image_nothing_is_said_of_precision(method: Any, trainer: Any, data: Any) -> None:
    learner = method()
    (tested,) = trainer().test(learner, datamodule=data, verbose=False)
    assert not any("precision" in key for key in (*tested, *learner.evaluated_keys()))


@pytest.mark.parametrize("kind", [Classification, CutMix])
def test_a_method_of_one_label_is_refused_in_training_and_can_evaluate(kind: Any, method: Any, trainer: Any) -> None:
    data = SeveralData()
    with pytest.raises(
        ValueError, match=rf"several classes at once, and {kind.__name__} would learn one of each: method="
    ):
        trainer(max_epochs=1).fit(method(kind), datamodule=data)
    (tested,) = trainer().test(method(kind), datamodule=data, verbose=False)
    assert tested["test/average_precision/num_images"] == 17


def test_probabilities_are_each_classs_own(network: Any) -> None:
    image_B3HW = torch.randn(3, 3, 12, 20)
    box = LargestComponent(threshold=0.2)
    localizer = Localizer(network.eval(), {"": ClassActivationMap()}, {"": box})
    with torch.no_grad():
        output = network(image_B3HW)
        softmax = localizer.maps(image_B3HW, output, torch.arange(3))
        independent_classes(network)
        sigmoid = localizer.maps(image_B3HW, output, torch.arange(3))
    assert torch.equal(sigmoid.classes_BT, softmax.classes_BT)
    assert torch.equal(sigmoid.probability_BT, output.logits_BC.sigmoid().gather(1, sigmoid.classes_BT))
    assert torch.allclose(softmax.probability_BT, output.logits_BC.softmax(1).gather(1, sigmoid.classes_BT))
    assert (sigmoid.probability_BT - softmax.probability_BT).abs().max() > 0.1


TINY = ["dataset=pascal_voc", "dataset.root=voc", "dataset.image_size=[48,64]", "dataset.batch_size=8", "trainer=cpu",
        "backbone.width=0.125", "backbone.units=16", "method=multi_label", "method.learning_rate=0.2"]  # fmt: skip


@pytest.mark.slow
def test_the_commands_on_a_small_voc(tmp_path: Path) -> None:
    """Trained, evaluated by one process and by two, predicted; another method's training is refused in one line."""
    write_voc(tmp_path / "voc/VOC2007", {"trainval": random_scenes(40, 0), "test": random_scenes(13, 1, 500)})
    commands.run("train", *TINY, "trainer.max_epochs=6", "run_dir=one", cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "cam_lightning.evaluate", "checkpoint=one", "trainer=cpu", "trainer.devices=2",
         "run_dir=two"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = (json.loads((tmp_path / run / "results.json").read_text()) for run in ("one", "two"))
    for key in (key for key in one if key.startswith("test/") and key != "test/loss"):
        assert one[key] == two[key], f"{key}: one process {one[key]}, two {two[key]}"
    assert one["test/loss"] == pytest.approx(two["test/loss"], rel=1e-5)
    assert "pairs of image and class" in done.stdout

    rows = read_predictions(tmp_path / "two" / "predictions.csv", ("id", "label_name", "class_ids", "probabilities"))
    scenes = random_scenes(13, 1, 500)
    pairs = [f"{i}/{name}" for i, scene in scenes.items() for name in sorted({thing.name for thing in scene.things})]
    table = {row.id: dict(zip(row.class_ids, row.probabilities, strict=True)) for row in rows}
    assert list(table) == pairs
    assert one["test/num_images"] == len(pairs) > one["test/average_precision/num_images"] == 13
    assert any(abs(sum(of_class.values()) - 1) > 0.1 for of_class in table.values())
    score = pytest.importorskip("sklearn.metrics").average_precision_score
    each = []
    for name in sorted(COLOURS):
        shown = [any(thing.name == name for thing in scene.things) for scene in scenes.values()]
        found = [next(of_class[name] for each_id, of_class in table.items() if each_id.startswith(i)) for i in scenes]
        each.append(score(shown, found))
    assert one["test/average_precision/mean"] == pytest.approx(np.mean(each), abs=1e-9)

    photo = "voc/VOC2007/JPEGImages/000500.jpg"
    commands.run("predict", f"images=[{photo}]", "checkpoint=one", "run_dir=three", cwd=tmp_path)
    predicted = json.loads((tmp_path / "three" / "predictions.json").read_text())["images"][0]
    own = next(of_class for each_id, of_class in table.items() if each_id.startswith("000500"))
    assert dict(zip(predicted["names"], predicted["probabilities"], strict=True)) == pytest.approx(own, abs=1e-4)

    refused = commands.run("train", *TINY[:-2], "method=cutmix", "run_dir=four", cwd=tmp_path, check=False)
    assert refused.returncode != 0
    assert "several classes at once, and CutMix would learn one of each" in " ".join(refused.stderr.split())
