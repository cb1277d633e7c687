"""`python -m cam_lightning.units`, and what it finds against looking at every image by itself."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from cam_lightning.dataset.shapes import Shapes
from cam_lightning.functional.network_input import normalised
from cam_lightning.report.unit_page import write_units
from cam_lightning.unit.picture import field_box
from cam_lightning.unit.search import FoundUnits, search_units
from tests.toy_network import ToyGap

SIZE = (48, 64)
NUM_IMAGES = 4


def data() -> Shapes:
    shapes = Shapes(num_train=40, num_test=23, image_size=SIZE, batch_size=5, num_workers=0)
    shapes.setup()
    return shapes


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(3)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU())
    return ToyGap(trunk, units=12, num_classes=10).eval()


@pytest.fixture(scope="module")
def found(network: Any) -> FoundUnits:
    return search_units(network, data(), classes=3, num_units=2, num_images=NUM_IMAGES)


@torch.no_grad()
def test_every_number_follows_from_one_image_at_a_time(network: Any, found: FoundUnits, tmp_path: Path) -> None:
    images = data().examples["test"]
    maps = [
        network.forward_features(normalised(images[0, n].image_3HW[None], *network.normalization))[0]
        for n in range(len(images))
    ]
    write_units(tmp_path, found)
    page = json.loads((tmp_path / "units.json").read_text())
    assert [each["class"] for each in page["classes"]] == found.names
    weight_CK = network.classifier.weight
    for label, shown in enumerate(page["classes"]):
        order = weight_CK[label].argsort(descending=True)[:2].tolist()
        assert [unit["unit"] for unit in shown["units"]] == order
        assert [unit["weight"] for unit in shown["units"]] == pytest.approx(weight_CK[label, order].tolist(), abs=1e-6)
    num_seen = 0
    for unit in page["units"]:
        peaks = [float(map_Khw[unit["unit"]].max()) for map_Khw in maps]
        order = sorted((n for n in range(len(maps)) if peaks[n] > 0), key=lambda n: -peaks[n])[:NUM_IMAGES]
        assert [each["id"] for each in unit["images"]] == [images.ids[n] for n in order]
        for each, n in zip(unit["images"], order, strict=True):
            num_seen += 1
            assert each["activation"] == pytest.approx(peaks[n], rel=1e-5)
            assert each["label"] == data().class_names[images.split.label_N[n]]
            map_hw = maps[n][unit["unit"]]
            assert map_hw[tuple(each["cell"])] == map_hw.max()
            # A 3×3 convolution over what a 5×5 one of stride 4 saw; the border cuts both off.
            cell, last = np.array(each["cell"][::-1]), np.array(map_hw.shape[::-1]) - 1
            first, behind = np.maximum(cell - 1, 0) * 4 - 2, np.minimum(cell + 1, last) * 4 + 3
            height, width = images.original(n).shape[:2]
            scale = np.array([width / SIZE[1], height / SIZE[0]])
            corner, end = np.maximum(first, 0) * scale, np.minimum(behind, SIZE[::-1]) * scale
            assert each["receptive_field"] == [*np.floor(corner).tolist(), *np.ceil(end).tolist()]
            score_HW = F.interpolate(map_hw[None, None], (height, width), mode="bilinear")[0, 0] / map_hw.max()
            x0, y0, x1, y1 = each["box"]
            assert (score_HW[y0:y1, x0:x1] > 0.5 * score_HW.max()).any(0).all()  # one component spans its box
    assert num_seen > NUM_IMAGES


def test_the_page_shows_them(found: FoundUnits, tmp_path: Path) -> None:
    text = write_units(tmp_path, found).read_text(encoding="utf-8")
    for name in found.names:
        assert f"<h2>{name}</h2>" in text
    pictures = re.findall(r'src="data:image/webp;base64,([^"]+)"', text)
    num_images = int((found.strongest.index_KN >= 0).sum())
    assert len(pictures) >= 2 * num_images
    for picture in pictures[:4]:
        width, height = Image.open(io.BytesIO(base64.b64decode(picture))).size
        assert 0 < min(width, height) <= max(width, height) <= 112
    assert not re.search(r'(src|href)="http', text)


def test_frames() -> None:
    assert field_box((3, 4, 9, 24), (48, 64), (96, 64)) == (3, 8, 9, 48)
    assert field_box((0, 0, 64, 48), (48, 64), (375, 500)) == (0, 0, 500, 375)
    assert field_box((1, 1, 2, 2), (48, 64), (50, 70)) == (1, 1, 3, 3)  # outwards
    for size in range(1, 600):
        assert field_box((0, 0, 224, 224), (224, 224), (size, size)) == (0, 0, size, size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "classes is at least 1"),
        ({"num_units": 0}, "num_units is at least 1"),
        ({"num_images": -1}, "num_images is at least 1"),
        ({"threshold": 1.0}, "threshold is a share"),
        ({"split": "tests"}, "split=tests: these data have train, val, test"),
        ({"classes": ["zebra"]}, "'zebra' is no class of the dataset"),
    ],
)
def test_what_cannot_be_is_said(network: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search_units(network, data(), **options)


def test_training_images_are_seen_without_augmentation(network: Any) -> None:
    one, other = (search_units(network, data(), split="train", classes=1, num_units=1) for _ in range(2))
    assert one.num_images == len(data().examples["train"])
    assert one.strongest.peak_KN.equal(other.strongest.peak_KN)


def test_the_command(weights: Path, tmp_path: Path) -> None:
    options = ["dataset.num_train=20", "dataset.num_test=20", "dataset.image_size=64", f"paths.runs={tmp_path}"]
    class_index = "{" + ", ".join(f"{name}: {n}" for n, name in enumerate(data().class_names)) + "}"
    network = ["backbone=squeezenet_gap", f"backbone.weights={weights}", "dataset.class_index=" + class_index]
    answer = commands.run(
        "units", *options, *network, "num_units=1", "classes=[dog,car]", "run_dir=found", cwd=tmp_path, check=False
    )
    assert answer.returncode != 0
    assert "is no class of the dataset" in answer.stderr
    answer = commands.run("units", *options, *network, "num_units=1", "classes=2", "run_dir=seen", cwd=tmp_path)
    assert (tmp_path / "seen" / "units.html").is_file()
    assert len(json.loads((tmp_path / "seen" / "units.json").read_text())["classes"]) == 2
    assert str(tmp_path / "seen" / "units.html") in answer.stdout
