"""A network of twenty lines in a package of the user's own: nothing of ours is touched, and every command takes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

NETWORK = """
import torch
from torch import nn
from cam_lightning.contracts import ClassifierOutput, Normalization

class TinyNet(nn.Module):
    normalization = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    def __init__(self, num_classes, units=8):
        super().__init__()
        self.num_classes = num_classes
        self.trunk = nn.Sequential(nn.Conv2d(3, units, 5, stride=4), nn.ReLU())
        self.classifier = nn.Linear(units, num_classes)
    def forward_features(self, x):
        return self.trunk(x)
    def forward_head(self, features):
        features = features.float()
        return ClassifierOutput(self.classifier(features.mean((2, 3))), features)
    def forward(self, x):
        return self.forward_head(self.forward_features(x))
    def class_maps(self, output, classes_BT):
        return torch.einsum("btk,bkhw->bthw", self.classifier.weight[classes_BT], output.features_BKhw)
    def select_classes(self, indices):
        raise NotImplementedError
"""
YAML = "# A network of mine.\n_target_: their_package.net.TinyNet\nunits: 8\n"
FEW = ["dataset.num_train=24", "dataset.num_test=12", "dataset.image_size=48", "dataset.batch_size=8", "trainer=cpu",
       "trainer.max_epochs=1"]  # fmt: skip


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with the package and its configuration."""
    package, conf = tmp_path / "their_package", tmp_path / "my conf" / "backbone"
    for folder in (package, conf):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "net.py").write_text(NETWORK)
    (conf / "tiny_net.yaml").write_text(YAML)
    return tmp_path


def run(entry: str, *arguments: str, cwd: Path, code: int = 0) -> str:
    """`python -m cam_lightning.<entry>`, with the user's folder on Python's path; what it said."""
    path = os.pathsep.join(filter(None, [str(cwd), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", f"cam_lightning.{entry}", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


MINE = ["--config-dir=my conf", "backbone=tiny_net", "trust=[their_package]", *FEW]


def test_every_command_takes_it(theirs: Path) -> None:
    run("train", *MINE, "run_dir=trained", cwd=theirs)
    results = json.loads((theirs / "trained" / "results.json").read_text())
    assert results["test/num_images"] == 12
    assert "test/localization_error/top1" in results
    run("evaluate", "checkpoint=trained", "trust=[their_package]", "trainer=cpu", "run_dir=evaluated", cwd=theirs)
    evaluated = json.loads((theirs / "evaluated" / "results.json").read_text())
    assert evaluated["test/localization_error/top1"] == results["test/localization_error/top1"]
    Image.new("RGB", (60, 40), (200, 90, 30)).save(theirs / "photo.png")
    run("predict", "images=photo.png", "checkpoint=trained", "trust=their_package", "device=cpu", "run_dir=predicted",
        cwd=theirs)  # fmt: skip
    assert (theirs / "predicted" / "predictions.json").is_file()
    assert "TinyNet" in (theirs / "trained" / "report.html").read_text()


@pytest.mark.slow
def test_a_checkpoint_of_it_that_is_not_trusted_any_more_is_data_again(theirs: Path) -> None:
    run("train", *MINE, "run_dir=trained", cwd=theirs)
    Image.new("RGB", (60, 40), (200, 90, 30)).save(theirs / "photo.png")
    for entry, arguments in (
        ("evaluate", ["checkpoint=trained", "trainer=cpu"]),
        ("predict", ["images=photo.png", "checkpoint=trained"]),
    ):
        assert "trust=[their_package]" in run(entry, *arguments, cwd=theirs, code=1)


@pytest.mark.slow
def test_sweeps_and_their_report_take_it(theirs: Path) -> None:
    assert "finished: " in run("train", "-m", *MINE, "seed=1,2", "sweep=mine", cwd=theirs)
    assert (theirs / "runs" / "mine" / "report.html").is_file()
    assert "test localization error, top-1" in run("report", "runs/mine", cwd=theirs)


def test_untrusted_it_is_one_clear_line(theirs: Path) -> None:
    said = run("train", "--config-dir=my conf", "backbone=tiny_net", *FEW, cwd=theirs, code=1)
    assert "error: backbone._target_=their_package.net.TinyNet is not trusted, and was not run" in said
    assert "trust=[their_package]" in said
    assert "Traceback" not in said


def test_a_configuration_cannot_trust_itself(theirs: Path) -> None:
    experiment = theirs / "my conf" / "experiment"
    experiment.mkdir()
    (experiment / "mine.yaml").write_text(
        "# @package _global_\n# Trusts itself.\ndefaults:\n  - override /backbone: tiny_net\ntrust: [their_package]\n"
    )
    said = run("train", "--config-dir=my conf", "experiment=mine", *FEW, cwd=theirs, code=1)
    assert "their_package.net.TinyNet is not trusted" in said
