"""The paper's rows as experiments: each runs on a small tree in the official layout."""

from __future__ import annotations

import json
from pathlib import Path

import caffe_networks as caffe
import cv2
import numpy as np
import pytest
from commands import run

from cam_lightning.dataset.imagenet import imagenet_classes

CLASSES = ["n01440764", "n02102040"]


@pytest.fixture
def ilsvrc(tmp_path: Path) -> list[str]:
    """Three validation photos and the WSOL benchmark's index of them; gives the options that name these."""
    folder = tmp_path / "metadata" / "test"
    folder.mkdir(parents=True)
    rows: dict[str, list[str]] = {key: [] for key in ("image_ids", "class_labels", "image_sizes", "localization")}
    for number in range(3):
        wnid, (height, width) = CLASSES[number % 2], (90 + number, 140)
        name = f"val/ILSVRC2012_val_{number + 1:08d}.JPEG"
        path = tmp_path / "ILSVRC" / "val" / wnid / Path(name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8))
        label = imagenet_classes().index(wnid)
        for key, value in zip(rows, ("", f",{label}", f",{width},{height}", ",10,20,99,79"), strict=True):
            rows[key].append(name + value)
    for key, lines in rows.items():
        (folder / f"{key}.txt").write_text("\n".join(lines))
    return [f"dataset.root={tmp_path / 'ILSVRC'}", f"dataset.metadata={tmp_path / 'metadata'}", "dataset.cache=null"]


def test_the_released_googlenet_gap(ilsvrc: list[str], tmp_path: Path) -> None:
    """From a file in the authors' layer names to their protocol; the rows of the two classes are those of ILSVRC."""
    layers = caffe.googlenet(1000, cam=True)
    file = tmp_path / "imagenet_googlenetCAM_train_iter_120000.caffemodel"
    file.write_bytes(caffe.caffemodel(layers, caffe.random_blobs(layers, (64, 64))))
    command = ("evaluate", "experiment=paper/googlenet_gap_released", *ilsvrc, "trainer=cpu")
    small = ("dataset.batch_size=2", "dataset.image_size=72", "cam.crop_size=63")
    run(*command, *small, f"run_dir={tmp_path / 'run'}", f"backbone.weights={file}", cwd=tmp_path)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test/num_images"] == 3
    assert 0 <= results["test/localization_error/top1"] <= 1
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "TenCropMap" in config
    assert "DistanceTransform" in config
    said = run(*command, cwd=tmp_path, check=False)
    assert said.returncode != 0
    assert "data/imagenet_googlenetCAM_train_iter_120000.caffemodel: there is no such file" in said.stdout + said.stderr
