"""The embedded dataset: streams that never meet, and scenes that do not depend on how many there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cam_lightning.dataset.scene.scene import CLASS_NAMES, draw_scene
from cam_lightning.dataset.shapes import SceneSplit, Shapes


def dataset(**options: Any) -> Shapes:
    data = Shapes(**{"num_train": 40, "num_test": 20, "image_size": 24, "num_workers": 0, **options})
    data.setup()
    return data


def test_counts_and_names() -> None:
    data = dataset()
    assert data.class_names == list(CLASS_NAMES)
    assert {name: len(examples) for name, examples in data.examples.items()} == {
        "train": 30,
        "val": 10,
        "test": 20,
    }
    assert np.bincount(data.examples["val"].split.label_N).tolist() == [1] * 10
    assert data.display_name("basket") == "basket"
    every_id = [identity for examples in data.examples.values() for identity in examples.ids]
    assert len(set(every_id)) == 60


def test_a_scene_is_read_as_drawn() -> None:
    split = SceneSplit("test", 7, 12)
    image, boxes, mask_HW = split.read(11)
    scene = draw_scene(7, 11)
    assert (image == scene.image_HW3).all()
    assert (boxes == scene.boxes_N4).all()
    assert mask_HW is not None
    # The masks of all of a scene's objects together.
    assert (mask_HW == np.where(scene.masks_NHW.sum(0) > 0, 1, 0)).all()
    assert split.label_N.tolist() == [draw_scene(7, index).label for index in range(12)]
    assert split.ids[11] == "test/000011"


def test_test_scenes_do_not_depend_on_the_training_scenes() -> None:
    one, other = dataset(num_train=40), dataset(num_train=100)
    for index in (0, 13):
        assert (one.examples["test"].original(index) == other.examples["test"].original(index)).all()


def test_no_scene_is_in_two_splits_or_two_datasets() -> None:
    scenes = set()
    for scene_seed in (0, 1, 2):
        for examples in dataset(scene_seed=scene_seed).examples.values():
            scenes |= {examples.original(index).tobytes() for index in range(10)}
    assert len(scenes) == 90


def test_too_few_test_scenes_are_named() -> None:
    with pytest.raises(ValueError, match="the test split has no image of 3 of 10 classes: "):
        dataset(num_test=7)
