"""SUN397 in the official layout: classes of several parts, slashes at the beginning of lines, ten partitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from labelled_tree import draw_all, heights, labelled

from cam_lightning.dataset.sun397 import Sun397

CLASSES = ["abbey", "apartment_building/outdoor", "bar"]
TRAIN = ["a/abbey/sun_aqswjsnjlrfzzhiz.jpg", "a/apartment_building/outdoor/sun_bbbbbbbbbbbbbbbb.jpg",
         "b/bar/sun_cccccccccccccccc.jpg", "a/abbey/sun_dddddddddddddddd.jpg"]  # fmt: skip
TEST = ["b/bar/sun_eeeeeeeeeeeeeeee.jpg", "a/abbey/sun_ajkqrqitspwywirx.jpg",
        "a/apartment_building/outdoor/sun_ffffffffffffffff.jpg"]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "it's SUN397"
    draw_all(root / "SUN397", [*TRAIN, *TEST])
    lists = root / "Partitions"
    lists.mkdir()
    # The classes' own order, which need not be the sorted one.
    classes = "".join(f"/{name[0]}/{name}\n" for name in CLASSES[::-1])
    (lists / "ClassName.txt").write_text(classes)
    for number, (train, test) in {1: (TRAIN, TEST), 10: (TEST, TRAIN)}.items():
        (lists / f"Training_{number:02d}.txt").write_text("".join(f"/{path}\r\n" for path in train))
        (lists / f"Testing_{number:02d}.txt").write_text("\n".join(f"/{path}" for path in test))
    return root


def data(root: Path, **options: Any) -> Sun397:
    return Sun397(root=str(root), num_workers=0, **options)


def test_classes_are_all_between_the_letter_and_the_file(root: Path) -> None:
    names, train, test, fullsup = data(root).read_splits()
    assert names == CLASSES[::-1]
    assert train is not None
    assert fullsup is None
    assert labelled(train, names) == {f"SUN397/{path}": path[2:].rpartition("/")[0] for path in TRAIN}
    assert labelled(test, names) == {f"SUN397/{path}": path[2:].rpartition("/")[0] for path in TEST}
    assert heights(train) == [20, 21, 22, 23]
    data(root).setup()


def test_another_partition_is_another_split(root: Path) -> None:
    _, train, test, _ = data(root, partition=10).read_splits()
    assert train is not None
    assert [path.removeprefix("SUN397/") for path in train.ids] == TEST
    assert [path.removeprefix("SUN397/") for path in test.ids] == TRAIN
    assert Sun397.DRAWN_BY == "partition"


def test_lists_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / "Partitions").rename(tmp_path / "lists")
    with pytest.raises(FileNotFoundError, match=r"Training_01.txt are not in .*dataset.partitions"):
        data(root).read_splits()
    assert len(data(root / "SUN397", partitions=str(tmp_path / "lists")).read_splits().test) == 3


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ClassName.txt", "abbey\n", "ClassName.txt: expected lines such as /a/abbey, got 'abbey'"),
        ("Training_01.txt", "/a/abbey.jpg\n", "is of no class of ClassName.txt"),
        ("Training_01.txt", "/a/castle/sun_x.jpg\n", "'/a/castle/sun_x.jpg' is of no class of ClassName.txt"),
        ("Testing_01.txt", "/a/abbey/sun_gone.jpg\n", r"sun_gone.jpg does not exist, though .* \(1 of 5 files"),
        ("Testing_01.txt", f"/{TRAIN[0]}\n", "is listed twice"),
        ("Testing_01.txt", b"/a/\xff\n", "Testing_01.txt is not UTF-8 text"),
    ],
)
def test_broken_lists_are_one_line(root: Path, file: str, content: str | bytes, message: str) -> None:
    path = root / "Partitions" / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        data(root).read_splits()
    assert "\n" not in str(caught.value)


def test_another_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "abbey").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected a; found abbey. Fetch SUN397.tar.gz"):
        data(tmp_path).read_splits()
    with pytest.raises(ValueError, match=r"dataset.partition is a whole number from 1 to 10"):
        data(tmp_path, partition=11)
