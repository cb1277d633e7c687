"""ADE20K's benchmark in its layout: categories, objects by pixel, and what broken files get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_tree import draw_all, labelled
from object_tree import write_image, write_lists
from PIL import Image

from cam_lightning.dataset.ade20k import Ade20k
from cam_lightning.dataset.format.objects import objects_of

SCENES = {
    "training": ["street", "street", "abbey", "misc", "bar", "bar", "bar"],
    "validation": ["street", "abbey", "bar", "bar"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "it's ade" / "ADEChallengeData2016"
    random = np.random.default_rng(0)
    category_of = {}
    for folder, scenes in SCENES.items():
        names = [f"ADE_{folder[:5]}_{number:08d}" for number in range(1, len(scenes) + 1)]
        category_of |= dict(zip(names, scenes, strict=True))
        height_of = draw_all(root / "images" / folder, [f"{name}.jpg" for name in names])
        for name in names:
            numbers = random.integers(0, 6, (height_of[f"{name}.jpg"], 40), dtype=np.uint8)
            write_image(root / "annotations" / folder / f"{name}.png", numbers)
    write_lists(root, category_of)
    return root.parent


def data(root: Path, **options: Any) -> Ade20k:
    return Ade20k(root=str(root), num_workers=0, **options)


def test_categories_and_objects(root: Path) -> None:
    # `misc` has no test image; bar has most, of the others street.
    assert data(root, categories=2).read_splits().names == ["bar", "street"]
    names, train, test, _ = data(root, categories=None).read_splits()
    assert names == ["abbey", "bar", "street"]
    assert train is not None
    for folder, split in (("training", train), ("validation", test)):
        found = labelled(split, names)
        expected = [scene for scene in SCENES[folder] if scene != "misc"]
        assert list(found.values()) == expected
        for index, path in enumerate(split.ids):
            assert path.startswith(f"ADEChallengeData2016/images/{folder}/")
            size = split.read(index).image_HW3.shape[:2]
            objects = objects_of(split, index, size)
            assert [*objects] == ["wall", "sky", "zebra crossing", "bench", "door"]
            file = root / path.replace("/images/", "/annotations/").replace(".jpg", ".png")
            numbers = np.asarray(Image.open(file))
            for number, mask_HW in enumerate(objects.values(), start=1):
                np.testing.assert_array_equal(mask_HW, numbers == number)
    chosen = data(root, classes=["bar"])
    chosen.setup()
    assert [*objects_of(chosen.examples["test"].split, 1, (23, 40))]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("sceneCategories.txt", "ADE_train_00000001\n", "expected lines such as ADE_train_00000001 abbey"),
        ("sceneCategories.txt", "x street\n", "has no line in sceneCategories.txt"),
        ("sceneCategories.txt", b"\xff\xfe\xff", "is not UTF-8 text"),
        ("objectInfo150.txt", "Idx\tName\n", "lists no object below its header"),
        ("objectInfo150.txt", "Idx\tName\n2\twall\n", "expected object 1 with tabs between, got '2\\twall'"),
        ("objectInfo150.txt", "Idx\tName\n1 wall\n", "expected object 1 with tabs between"),
        ("objectInfo150.txt", "Idx\tName\n1\twall\n", "has object 5, of 1 in objectInfo150.txt"),
        ("annotations/validation/ADE_valid_00000001.png", b"no picture", "cannot be read as a mask"),
        ("annotations/validation/ADE_valid_00000001.png", np.ones((9, 40), np.uint8), "is 40×9, and its image 40×20"),
        ("annotations/validation/ADE_valid_00000001.png", None, "ADE_valid_00000001.png does not exist"),
    ],
)
def test_broken_files_are_one_line(root: Path, file: str, content: Any, message: str) -> None:
    path = root / "ADEChallengeData2016" / file
    path.unlink()
    if isinstance(content, np.ndarray):
        write_image(path, content)
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((ValueError, OSError)) as caught:
        objects_of(data(root).read_splits().test, 0, (20, 40))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_crop_has_no_objects(root: Path) -> None:
    with pytest.raises(ValueError, match="these data do not say where each object is"):
        objects_of(data(root, centre=0.5).read_splits().test, 0, (10, 20))
    with pytest.raises(FileNotFoundError, match=r"expected images, annotations, sceneCategories.txt"):
        data(root / "ADEChallengeData2016" / "images").read_splits()
