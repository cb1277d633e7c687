"""UIUC Event8: eight folders, and neither fewer nor more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_tree import draw_all

from cam_lightning.dataset.uiuc_event8 import UiucEvent8

CLASSES = ["RockClimbing", "badminton", "bocce", "croquet", "polo", "rowing", "sailing", "snowboarding"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    draw_all(tmp_path / "event_img", [f"{name}/{number}.JPG" for name in CLASSES for number in range(5)])
    (tmp_path / "event_img" / "readme").mkdir()
    (tmp_path / "event_img" / "readme" / "about.txt").write_text("no image")
    return tmp_path


def test_eight_folders(root: Path) -> None:
    data = UiucEvent8(root=str(root), train_per_class=3, test_per_class=1, num_workers=0)
    data.setup()
    names, train, test, _ = data.read_splits()
    assert names == CLASSES
    assert train is not None
    assert np.bincount(train.label_N).tolist() == [3] * 8
    assert np.bincount(test.label_N).tolist() == [1] * 8
    assert len(UiucEvent8(root=str(root / "event_img"), train_per_class=3).read_splits().test) == 16


def test_another_number_of_folders_is_said(root: Path, tmp_path: Path) -> None:
    (root / "event_img" / "polo").rename(tmp_path / "polo")
    for file in (tmp_path / "polo").iterdir():
        file.unlink()
    with pytest.raises(
        ValueError, match=r"event_img has 7 folders with images \(RockClimbing, .*\); UIUC Event8 has 8"
    ):
        UiucEvent8(root=str(root)).read_splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="expected 8 folders with images, such as badminton"):
        UiucEvent8(root=str(tmp_path / "empty")).read_splits()
