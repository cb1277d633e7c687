"""Caltech-101: 101 folders and a background, counts per class, no more to test than there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_tree import draw_all

from cam_lightning.dataset.caltech101 import Caltech101

COUNTS = {"BACKGROUND_Google": 6, "Faces": 9, "Faces_easy": 5, "accordion": 7}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    paths = [f"{name}/image_{number:04d}.jpg" for name, count in COUNTS.items() for number in range(1, count + 1)]
    draw_all(tmp_path / "101_ObjectCategories", paths)
    (tmp_path / "101_ObjectCategories" / "Faces" / "notes.txt").write_text("no image")
    return tmp_path


def data(root: Path, **options: Any) -> Caltech101:
    return Caltech101(root=str(root), num_workers=0, **{"train_per_class": 3, "test_per_class": 4, **options})


def test_so_many_of_each_to_train_and_at_most_so_many_to_test(root: Path) -> None:
    data(root).setup()
    names, train, test, _ = data(root).read_splits()
    assert names == ["Faces", "Faces_easy", "accordion"]
    assert train is not None
    assert np.bincount(train.label_N).tolist() == [3, 3, 3]
    assert np.bincount(test.label_N).tolist() == [4, 2, 4]
    assert not set(train.ids) & set(test.ids)
    assert list(train.ids) == sorted(train.ids)
    assert np.bincount(data(root, test_per_class=None).read_splits().test.label_N).tolist() == [6, 2, 4]
    assert len(data(root / "101_ObjectCategories").read_splits().test) == 10


def test_another_seed_is_another_draw_of_the_same_sizes(root: Path) -> None:
    splits = [data(root, split_seed=seed).read_splits().train for seed in range(4)]
    assert len({tuple(split.ids) for split in splits if split is not None}) == 4
    assert Caltech101.DRAWN_BY == "split_seed"


def test_the_background_is_a_class_only_if_asked_for(root: Path) -> None:
    assert data(root, background=True).read_splits().names[0] == "BACKGROUND_Google"


def test_a_class_without_test_images_is_said(root: Path) -> None:
    with pytest.raises(ValueError, match=r"class Faces_easy has 5 images, so none is left .* \(1 of 3 classes\)"):
        data(root, train_per_class=5).read_splits()


def test_another_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected accordion; found nothing"):
        data(tmp_path).read_splits()
