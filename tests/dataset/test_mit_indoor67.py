"""MIT Indoor67 in the official layout: spaces in names, no newline after the last line."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_tree import draw_all, heights, labelled

from cam_lightning.dataset.mit_indoor67 import MitIndoor67

TRAIN = ["mall/shopping mall.jpg", "kindergarden/a.jpg", "operating_room/hospital room_30_06_altavista.jpg"]
TEST = ["kindergarden/Concert Hall.jpg", "operating_room/b.jpg", "mall/c.jpg", "mall/d.jpg"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    draw_all(tmp_path / "indoorCVPR_09" / "Images", [*TRAIN, *TEST], mode="L")
    (tmp_path / "indoorCVPR_09" / "TrainImages.txt").write_text("\n".join(TRAIN))
    (tmp_path / "indoorCVPR_09" / "TestImages.txt").write_text("\n".join(TEST))
    return tmp_path


def test_the_class_is_what_comes_before_the_first_slash(root: Path) -> None:
    data = MitIndoor67(root=str(root), num_workers=0)
    data.setup()
    names, train, test, _ = data.read_splits()
    assert names == ["kindergarden", "mall", "operating_room"]
    assert train is not None
    top = "indoorCVPR_09/Images/"
    assert labelled(train, names) == {top + path: path.split("/")[0] for path in TRAIN}
    assert labelled(test, names) == {top + path: path.split("/")[0] for path in TEST}
    assert heights(test) == [23, 24, 25, 26]
    assert len(MitIndoor67(root=str(root / "indoorCVPR_09")).read_splits().test) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mall\n", "TestImages.txt: expected lines such as gameroom/bt_1.jpg, got 'mall'"),
        ("mall/gone.jpg\n", "gone.jpg does not exist, though the lists"),
        ("mall/shopping mall.jpg\n", "is listed twice"),
    ],
)
def test_broken_lists_are_one_line(root: Path, content: str, message: str) -> None:
    (root / "indoorCVPR_09" / "TestImages.txt").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        MitIndoor67(root=str(root)).read_splits()
    assert "\n" not in str(caught.value)


def test_another_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected Images, TrainImages.txt, TestImages.txt; found nothing"):
        MitIndoor67(root=str(tmp_path)).read_splits()
