"""Caltech-256: numbered folders, clutter, and what strays lie in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_tree import draw_all

from cam_lightning.dataset.caltech256 import Caltech256


@pytest.fixture
def root(tmp_path: Path) -> Path:
    names = {"001.ak47": 5, "056.dog": 6, "257.clutter": 4}
    paths = [f"{name}/{name[:3]}_{number:04d}.jpg" for name, count in names.items() for number in range(1, count + 1)]
    draw_all(tmp_path / "256_ObjectCategories", [*paths, "056.dog/greg/vision309/056_0001.jpg"])
    (tmp_path / "256_ObjectCategories" / "056.dog" / "RENAME2").write_text("#!/bin/sh")
    return tmp_path


def data(root: Path, **options: Any) -> Caltech256:
    return Caltech256(root=str(root), num_workers=0, **{"train_per_class": 3, **options})


def test_folders_are_classes_and_strays_are_none(root: Path) -> None:
    data(root).setup()
    names, train, test, _ = data(root).read_splits()
    assert names == ["001.ak47", "056.dog"]
    assert train is not None
    assert np.bincount(train.label_N).tolist() == [3, 3]
    assert np.bincount(test.label_N).tolist() == [2, 3]
    assert not any("greg" in path for path in (*train.ids, *test.ids))
    assert data(root).display_name("056.dog") == "dog"
    assert data(root, clutter=True).read_splits().names[-1] == "257.clutter"


def test_what_is_no_class_is_said(root: Path, tmp_path: Path) -> None:
    draw_all(root / "256_ObjectCategories", ["dogs/1.jpg"])
    with pytest.raises(ValueError, match=r"dogs is no class of Caltech-256, whose folders are as 001.ak47"):
        data(root).read_splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected 001.ak47; found nothing"):
        data(tmp_path / "empty").read_splits()
