"""Stanford 40 Actions in the official layout: the class is the file's name up to its last underscore."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_tree import draw_all, heights, labelled

from cam_lightning.dataset.stanford_action40 import StanfordAction40

TRAIN = ["writing_on_a_book_002.jpg", "applauding_001.jpg"]
TEST = ["applauding_010.jpg", "writing_on_a_book_001.jpg", "applauding_003.jpg"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    draw_all(tmp_path / "JPEGImages", [*TRAIN, *TEST])
    (tmp_path / "ImageSplits").mkdir()
    for part, names in (("train", TRAIN), ("test", TEST)):
        (tmp_path / "ImageSplits" / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
    (tmp_path / "ImageSplits" / "applauding_train.txt").write_text("applauding_001.jpg\n")
    return tmp_path


def test_the_class_is_in_the_name(root: Path) -> None:
    data = StanfordAction40(root=str(root), num_workers=0)
    data.setup()
    names, train, test, _ = data.read_splits()
    assert names == ["applauding", "writing_on_a_book"]
    assert data.display_name(names[1]) == "writing on a book"
    assert train is not None
    assert labelled(train, names) == {f"JPEGImages/{name}": name[:-8] for name in TRAIN}
    assert labelled(test, names) == {f"JPEGImages/{name}": name[:-8] for name in TEST}
    assert heights(train) == [20, 21]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("applauding.jpg\n", "test.txt: expected lines such as applauding_001.jpg, got 'applauding.jpg'"),
        ("a/applauding_001.jpg\n", "expected lines such as applauding_001.jpg"),
        ("applauding_777.jpg\n", "applauding_777.jpg does not exist"),
        ("applauding_001.jpg\n", "is listed twice"),
    ],
)
def test_broken_lists_are_one_line(root: Path, content: str, message: str) -> None:
    (root / "ImageSplits" / "test.txt").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        StanfordAction40(root=str(root)).read_splits()
    assert "\n" not in str(caught.value)


def test_another_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected JPEGImages, ImageSplits; found nothing"):
        StanfordAction40(root=str(tmp_path)).read_splits()
