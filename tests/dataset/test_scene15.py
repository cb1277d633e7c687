"""Scene15 as copies have it: folders spelt as one likes, grey, with a split of their own or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_tree import draw_all, labelled

from cam_lightning.dataset.scene15 import CLASSES, Scene15

ORIGINAL = [
    *("bedroom", "CALsuburb", "industrial", "kitchen", "livingroom", "MITcoast", "MITforest", "MIThighway"),
    *("MITinsidecity", "MITmountain", "MITopencountry", "MITstreet", "MITtallbuilding", "PARoffice", "store"),
]


def data(root: Path, **options: Any) -> Scene15:
    return Scene15(root=str(root), num_workers=0, **{"train_per_class": 2, **options})


@pytest.fixture
def original(tmp_path: Path) -> Path:
    paths = [f"{name}/image_{number:04d}.jpg" for name in ORIGINAL for number in range(1, 5)]
    draw_all(tmp_path / "scene_categories", paths, mode="L")
    return tmp_path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """As a copy with its own split: `Coast` to train, `coast` to test."""
    spelt = [name.title() if number % 2 else name for number, name in enumerate(CLASSES)]
    train = [f"train/{name}/image_{number:04d}.jpg" for name in spelt for number in (1, 4)]
    test = [f"test/{name}/image_{number:04d}.jpg" for name in CLASSES for number in (2, 3, 5)]
    draw_all(tmp_path / "data", [*train, *test], mode="L")
    return tmp_path


def test_the_original_folders_are_the_fifteen_classes(original: Path) -> None:
    data(original).setup()
    names, train, test, _ = data(original).read_splits()
    assert names == list(CLASSES)
    assert train is not None
    assert np.bincount(train.label_N).tolist() == [2] * 15
    for path, name in {**labelled(train, names), **labelled(test, names)}.items():
        assert path.split("/")[1].lower().endswith(name)
    image = test.read(0).image_HW3
    assert image.shape[2] == 3
    assert (image[..., 0] == image[..., 2]).all()


def test_a_copy_s_own_split_is_taken_or_drawn_over(copy: Path) -> None:
    names, train, test, _ = data(copy).read_splits()
    assert names == list(CLASSES)
    assert train is not None
    assert all(path.startswith("data/train/") for path in train.ids)
    assert all(path.startswith("data/test/") for path in test.ids)
    assert np.bincount(test.label_N).tolist() == [3] * 15
    for path, name in {**labelled(train, names), **labelled(test, names)}.items():
        assert path.split("/")[2].lower() == name
    drawn = [data(copy, split_seed=seed).read_splits() for seed in (0, 1)]
    for splits in drawn:
        assert splits.train is not None
        assert np.bincount(splits.train.label_N).tolist() == [2] * 15
        assert {*splits.train.ids, *splits.test.ids} == {*train.ids, *test.ids}
    assert list(drawn[0].test.ids) != list(drawn[1].test.ids)


def test_without_a_split_of_its_own_none_is_zero(original: Path) -> None:
    assert list(data(original).read_splits().test.ids) == list(data(original, split_seed=0).read_splits().test.ids)


def test_another_scene_is_said(original: Path, tmp_path: Path) -> None:
    draw_all(original / "scene_categories", ["MITbeach/1.jpg"])
    with pytest.raises(ValueError, match=r"MITbeach is none of Scene15's classes .*dataset=folder"):
        data(original).read_splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected folders of the classes bedroom, .*; found nothing"):
        data(tmp_path / "empty").read_splits()
    (tmp_path / "half" / "train").mkdir(parents=True)
    draw_all(tmp_path / "half" / "test", ["coast/1.jpg"])
    with pytest.raises(FileNotFoundError, match="train has no folder with images"):
        data(tmp_path / "half").read_splits()
