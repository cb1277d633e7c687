"""An index is a few arrays: what goes in comes out, kept or not, and what changed since is seen."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row, require_annotated_sizes
from cam_lightning.dataset.pipeline.index_cache import NotedStorage, Stamps, cached_index
from cam_lightning.dataset.pipeline.storage import Storage

ROWS = [
    Row("a/1.jpg", 3),
    Row("it's a = b, ü.png", 0, np.array([[1, 2, 3.5, 4], [0, 0, 9, 9]], np.float32), (30, 20)),
    Row("b/2.jpg", 1, np.zeros((0, 4), np.float32)),
    Row("b/3.jpg", 1, np.array([[5, 6, 7, 8]], np.float32)),
]


def same(index: Index, rows: list[Row]) -> bool:
    boxes = [[] if row.boxes_N4 is None else row.boxes_N4.tolist() for row in rows]
    return (
        index.ids == [row.path for row in rows]
        and index.label_N.tolist() == [row.label for row in rows]
        and index.size_N2.tolist() == [list(row.size or (0, 0)) for row in rows]
        and [index.boxes(i).tolist() for i in range(len(rows))] == boxes
    )


@pytest.mark.parametrize("count", [0, 1, 4])
def test_rows_come_back(count: int) -> None:
    index = Index.pack(iter(ROWS[:count]))
    assert same(index, ROWS[:count])
    types = [index.label_N.dtype, index.size_N2.dtype, index.first_box_N1.dtype, index.boxes_M4.dtype]
    assert types == [np.int64, np.int32, np.int64, np.float32]


def test_boxes_are_copies() -> None:
    index = Index.pack(ROWS)
    index.boxes(3)[:] = 0
    assert index.boxes(3).tolist() == [[5, 6, 7, 8]]


def test_an_indexed_split_reads_its_files(tmp_path: Path, draw_photo: Callable[..., None]) -> None:
    for row in ROWS:
        draw_photo(tmp_path / row.path, 30, 20, [])
    split = IndexedSplit(Storage(tmp_path), Index.pack(ROWS))
    image_HW3, boxes_N4, mask_HW = split.read(1)
    assert (image_HW3.shape, boxes_N4.shape, mask_HW) == ((30, 20, 3), (2, 4), None)
    (tmp_path / "b" / "3.jpg").write_bytes(b"no image")
    with pytest.raises(OSError, match=r"b/3\.jpg cannot be read as an image"):
        split.read(3)


def test_sizes_are_compared_where_the_annotations_give_them(tmp_path: Path, draw_photo: Callable[..., None]) -> None:
    draw_photo(tmp_path / "a.png", 30, 20, [])
    storage = Storage(tmp_path)
    require_annotated_sizes(IndexedSplit(storage, Index.pack([Row("a.png", 0)])))
    require_annotated_sizes(IndexedSplit(storage, Index.pack([Row("a.png", 0, None, (30, 20))])))
    require_annotated_sizes(IndexedSplit(storage, Index.pack([])))
    with pytest.raises(ValueError, match=r"1 of 1 images looked at .*a\.png is 20×30, its annotation says 30×20"):
        require_annotated_sizes(IndexedSplit(storage, Index.pack([Row("a.png", 0, None, (20, 30))])))


def test_copies_of_the_large_photos_alone_are_found_and_a_few_slips_are_told(
    tmp_path: Path, draw_photo: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """As where the longer side was limited: most photos are as they were, and any few of them say nothing."""
    draw_photo(tmp_path / "a.png", 30, 20, [])
    storage = Storage(tmp_path)

    def require(num_others: int) -> None:
        rows = [Row("a.png", 0, None, (60, 40) if number % 25 == 7 else (30, 20)) for number in range(200)]
        others = [number for number, row in enumerate(rows) if row.size == (60, 40)][num_others:]
        for number in others:
            rows[number] = rows[number]._replace(size=(30, 20))
        require_annotated_sizes(IndexedSplit(storage, Index.pack(rows)))

    with pytest.raises(ValueError, match=r"8 of 200 images looked at .*a\.png is 20×30, its annotation says 40×60"):
        require(8)
    assert not caplog.records
    require(2)
    assert "2 of 200 images looked at have another size than their annotations give" in caplog.text


class Counting:
    """Builds an index of a folder's files, each labelled with the number in `labels.txt`, and counts how often."""

    def __init__(self, root: Path, cache: Path | None) -> None:
        self.root, self.cache, self.built = root, cache, 0

    def __call__(self, key: object = "key") -> list[str]:
        folder = None if self.cache is None else str(self.cache)
        index = cached_index(folder, "test", key, self._build)
        assert set(index.label_N.tolist()) <= {int((self.root / "labels.txt").read_text())}
        return list(index.ids)

    def _build(self, seen: Stamps) -> Index:
        self.built += 1
        storage = NotedStorage(self.root, seen)
        label = int(storage.read("labels.txt"))
        return Index.pack(Row(name, label) for name in storage.names("images") + storage.names("later"))


def age(root: Path) -> None:
    """As if nothing had changed for a long time."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, (time.time() - 100, time.time() - 100))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "images").mkdir(parents=True)
    (root / "labels.txt").write_text("5")
    (root / "images" / "a.jpg").touch()
    age(root)
    return root


def test_an_index_is_kept_and_then_not_built(tree: Path, tmp_path: Path) -> None:
    load = Counting(tree, tmp_path / "deep" / "cache")
    assert load() == load() == ["a.jpg"]
    assert load.built == 1
    assert load("another key") == ["a.jpg"]
    assert load.built == 2
    assert len(list((tmp_path / "deep" / "cache").iterdir())) == 2


def test_nothing_is_kept_without_a_folder(tree: Path) -> None:
    load = Counting(tree, None)
    assert load() == load() == ["a.jpg"]
    assert load.built == 2


def test_what_has_just_changed_is_not_kept(tree: Path, tmp_path: Path) -> None:
    """It could change again within one tick of the file system's clock, unseen."""
    load = Counting(tree, tmp_path / "cache")
    (tree / "images" / "b.jpg").touch()
    assert load() == load() == ["a.jpg", "b.jpg"]
    assert load.built == 2
    age(tree)
    assert load() == load() == ["a.jpg", "b.jpg"]
    assert load.built == 3


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "rewritten", "a folder that was not there"])
def test_every_change_is_seen(tree: Path, tmp_path: Path, change: str) -> None:
    load = Counting(tree, tmp_path / "cache")
    load()
    image = tree / "images" / "a.jpg"
    expected = {
        "added": ["a.jpg", "c.jpg"],
        "removed": [],
        "renamed": ["z.jpg"],
        "rewritten": ["a.jpg"],
        "a folder that was not there": ["a.jpg", "l.jpg"],
    }[change]
    if change == "added":
        (tree / "images" / "c.jpg").touch()
    elif change == "removed":
        image.unlink()
    elif change == "renamed":
        image.rename(tree / "images" / "z.jpg")
    elif change == "rewritten":
        (tree / "labels.txt").write_text("7")
    else:
        (tree / "later").mkdir()
        (tree / "later" / "l.jpg").touch()
    assert load() == expected
    assert load.built == 2


@pytest.mark.parametrize("damage", [b"", b"no index", None])
def test_a_damaged_file_is_made_anew(
    tree: Path, tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    load = Counting(tree, tmp_path / "cache")
    load()
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-200] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        assert load() == ["a.jpg"]
    assert load.built == 2
    assert f"{file} cannot be read, and is made anew" in caplog.text
    assert load() == ["a.jpg"]
    assert load.built == 2


def test_a_folder_that_cannot_be_written_is_said(tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    load = Counting(tree, tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING):
        assert load() == ["a.jpg"]
    assert "the index cannot be kept in dataset.cache=" in caplog.text
