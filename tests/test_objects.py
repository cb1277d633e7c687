"""`python -m cam_lightning.objects`: drawn scenes whose categories one known object each tells apart."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
from pattern_world import background, draw_object, pattern_backbone, pattern_network, probed_network, two_places
from PIL import Image

from cam_lightning.dataset.ade20k import Ade20k
from cam_lightning.dataset.shapes import Shapes
from cam_lightning.functional.network_input import normalised
from cam_lightning.functional.post_processing import PostProcessing, score_map
from cam_lightning.localization.informative_objects import CategoryCounter, informative_objects
from tests.dataset.object_tree import write_image, write_lists

SIZE = (64, 100)
TELLS = {"street": "zebra crossing", "park": "bench"}
"""A crossing has stripes, a bench is red; a green door and the wall behind are in every scene."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("it's a = world")
    random = np.random.default_rng(0)
    category_of = {}
    for folder, count in (("training", 24), ("validation", 8)):
        for number in range(count):
            category = ("street", "park")[number % 2]
            image_HW3, numbers = background(random, *SIZE), np.full(SIZE, 1, np.uint8)
            numbers[:10] = 2
            telling, door = two_places(random, *SIZE)
            shapes = (
                (telling, *(("grey", "upright", 3) if category == "street" else ("red", "", 4))),
                (door, "green", "", 5),
            )
            for place, colour, stripes, object_number in shapes:
                x0, y0, x1, y1 = draw_object(image_HW3, *place, colour, stripes)
                numbers[y0:y1, x0:x1] = object_number
            name = f"ADE_{folder}_{number:08d}"
            category_of[name] = category
            write_image(root / "images" / folder / f"{name}.png", image_HW3)
            write_image(root / "annotations" / folder / f"{name}.png", numbers)
    write_lists(root, category_of)
    return root


def data(root: Path, **options: Any) -> Ade20k:
    scenes = Ade20k(root=str(root), image_size=SIZE, batch_size=3, num_workers=0, **options)
    scenes.setup()
    return scenes


def test_the_object_that_tells_comes_first_and_numbers_are_those_of_a_slow_count(root: Path, tmp_path: Path) -> None:
    scenes = data(root)
    network = probed_network(scenes, tmp_path / "features", c=100.0)
    found = informative_objects(network, scenes, threshold=0.4)
    images = scenes.examples["test"]
    assert [each.name for each in found.categories] == ["park", "street"]
    for label, category in enumerate(found.categories):
        positions = [n for n in range(len(images)) if images.split.label_N[n] == label]
        assert category.num_images == len(positions) == 4
        assert {index for index, _ in category.shown} == {*positions}
        first = category.objects[0]
        assert first.name == TELLS[category.name]
        assert first.ratio > 4
        assert all(each.ratio < 1 for each in category.objects[1:])
        sums: dict[str, np.ndarray] = {}
        for n in positions:
            output = network(normalised(images[0, n].image_3HW[None], *network.normalization))
            weight_K = network.classifier.weight[label]
            map_hw = (weight_K[:, None, None] * output.features_BKhw[0]).sum(0).detach()
            high = score_map(map_hw, SIZE, PostProcessing(rectify=True, normalise="max")) > 0.4
            path = root / images.ids[n].replace("images/", "annotations/")
            numbers = np.asarray(Image.open(path))
            for number, name in enumerate(("wall", "sky", "zebra crossing", "bench", "door"), start=1):
                pixels = [(numbers[y, x] == number, high[y, x]) for y in range(SIZE[0]) for x in range(SIZE[1])]
                both = sum(1 for is_it, is_high in pixels if is_it and is_high)
                here = np.array([both / int(high.sum()), sum(is_it for is_it, _ in pixels) / len(pixels), 0.0])
                here[2] = float(here[1] > 0)
                sums[name] = sums.get(name, np.zeros(3)) + here
        for each in category.objects:
            region, image, count = sums.pop(each.name)
            assert each.region_share == pytest.approx(region / 4)
            assert each.image_share == pytest.approx(image / 4)
            assert each.num_images == count
        assert all(rest[2] == 0 for rest in sums.values())


def test_counts_by_hand() -> None:
    counter = CategoryCounter()
    left, top = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    left[:, :2], top[0] = True, True
    counter.add({"left": left, "top": top}, left)
    counter.add({"top": top}, left)
    counter.add({"left": left}, np.zeros((2, 4), bool))
    assert (counter.num_images, counter.num_without_map) == (2, 1)
    assert [each._asdict() for each in counter.shares()] == [
        {"name": "left", "region_share": 0.5, "image_share": 0.25, "num_images": 1},
        {"name": "top", "region_share": 0.5, "image_share": 0.5, "num_images": 2},
    ]
    assert [each.ratio for each in counter.shares()] == [2.0, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.0}, "threshold is a share of the map's maximum"),
        ({"split": "tests"}, "split=tests: these data have train, val, test"),
        ({"num_shown": -1}, "num_images is at least 0"),
    ],
)
def test_what_cannot_be_is_said(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        informative_objects(pattern_network(2).eval(), data(root), **options)


def test_data_without_objects_are_refused_before_anything_is_looked_at() -> None:
    shapes = Shapes(num_train=20, num_test=10, image_size=48, num_workers=0)
    shapes.setup()
    with pytest.raises(ValueError, match="dataset=ade20k and dataset=sun_objects do"):
        informative_objects(pattern_network(10).eval(), shapes)


def test_an_image_that_is_skipped_may_be_the_first(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "world")
    (tmp_path / "world" / "images" / "validation" / "ADE_validation_00000000.png").write_bytes(b"no image")
    scenes = data(tmp_path / "world", on_bad_image="skip")
    assert scenes.examples["test"].ids[0].endswith("00000000.png")
    found = informative_objects(pattern_network(2).eval(), scenes)
    assert [each.num_images + each.num_without_map for each in found.categories] == [4, 3]
    with pytest.raises(OSError, match="ADE_validation_00000000"):
        informative_objects(pattern_network(2).eval(), data(tmp_path / "world"))


def test_the_command_after_a_probe(root: Path, tmp_path: Path) -> None:
    given = {
        "dataset": "ade20k",
        "dataset.root": root,
        "dataset.image_size": "[64,100]",
        "classifier.c": 100,
        "features": tmp_path / "features",
        "trainer": "cpu",
        "test": "false",
        "run_dir": tmp_path / "probe",
    }
    commands.run("probe", *pattern_backbone(tmp_path), *(f"{k}={v}" for k, v in given.items()), cwd=tmp_path)
    again = [f"checkpoint={tmp_path / 'probe'}", "trust=[pattern_world]", f"run_dir={tmp_path / 'found'}", "device=cpu"]
    answer = commands.run("objects", *again, "num_objects=2", cwd=tmp_path)
    assert str(tmp_path / "found" / "objects.html") in answer.stdout
    content = json.loads((tmp_path / "found" / "objects.json").read_text())
    assert [each["category"] for each in content["categories"]] == ["park", "street"]
    for each in content["categories"]:
        assert each["objects"][0]["object"] == TELLS[each["category"]]
        assert len(each["objects"]) == 4
    text = (tmp_path / "found" / "objects.html").read_text(encoding="utf-8")
    assert len(re.findall(r'src="data:image/webp;base64,', text)) == 8
    assert text.index("<th>bench</th>") < text.index("<th>zebra crossing</th>")
    assert not re.search(r'(src|href)="http', text)
