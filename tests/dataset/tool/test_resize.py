"""A smaller copy: sizes, boxes and classes follow, nothing grows, and a broken-off call goes on where it was."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cam_lightning.dataset.folder import Folder, FolderSplit
from cam_lightning.dataset.tool.resize import _table, resize

SIZES = {"train/cat/large.png": (90, 61), "train/dog/small.jpg": (20, 30), "test/cat/tall.jpg": (40, 101),
         "test/dog/wide.jpeg": (200, 50)}  # fmt: skip
"""Width and height."""
BOXES = {"train/cat/large.png": [(0, 0, 90, 61)], "test/cat/tall.jpg": [(10, 20, 30, 101), (0, 0, 1, 1)],
         "test/dog/wide.jpeg": [(3, 5, 7, 11)]}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    root = tmp_path / "it's = a, source"
    rows = ["image,class,x0,y0,x1,y1"]
    for seed, (path, (width, height)) in enumerate(SIZES.items()):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(root / path)
        rows += [f"{path},{path.split('/')[1]},{','.join(map(str, box))}" for box in BOXES.get(path, [])]
    (root / "annotations.csv").write_text("\n".join(rows))
    return Folder(str(root), format="csv")


def plain(things: object, what: str, total: int) -> object:
    return things


def copy(source: Folder, to: Path, short_side: int = 32, quality: int = 90) -> object:
    return resize(source, to, short_side, quality, plain)  # type: ignore[arg-type]


def test_sizes_boxes_and_classes_follow(source: Folder, tmp_path: Path) -> None:
    to = tmp_path / "to"
    assert copy(source, to) == (4, 4, [])
    splits = Folder(str(to), format="csv").read_splits()
    assert splits.names == ["cat", "dog"]
    found = {
        split.ids[i]: (split.read(i).image_HW3.shape[1::-1], split.read(i).boxes_N4.tolist(), int(split.label_N[i]))
        for split in splits.parts().values()
        for i in range(len(split))
    }
    # By hand: 61 → 32 makes 90 → 47.2; 40 → 32 makes 101 → 80.8; 50 → 32 makes 200 → 128.
    assert {path: (size, label) for path, (size, _, label) in found.items()} == {
        "train/cat/large.png.jpg": ((47, 32), 0),
        "train/dog/small.jpg": ((20, 30), 1),
        "test/cat/tall.jpg": ((32, 81), 0),
        "test/dog/wide.jpeg": ((128, 32), 1),
    }
    assert found["train/cat/large.png.jpg"][1] == [[0, 0, 47, 32]]
    assert np.allclose(found["test/cat/tall.jpg"][1], [[8, 20 / 101 * 81, 24, 81], [0, 0, 0.8, 81 / 101]])
    assert np.allclose(found["test/dog/wide.jpeg"][1], [[1.92, 3.2, 4.48, 7.04]])
    assert found["train/dog/small.jpg"][1] == []


def test_only_the_chosen_classes_are_copied(source: Folder, tmp_path: Path) -> None:
    source.classes = ["dog"]
    assert copy(source, tmp_path / "to") == (2, 1, [])
    splits = Folder(str(tmp_path / "to"), format="csv").read_splits()
    assert splits.names == ["dog"]
    source.classes = ["cat"]
    with pytest.raises(ValueError, match="holds a copy made of"):
        copy(source, tmp_path / "to")


def test_a_box_that_is_annotated_twice_is_one_row(tmp_path: Path) -> None:
    two = np.array([[0, 0, 5, 5], [1, 1, 2, 2], [0, 0, 5, 5]], np.float32)
    assert _table([("a.jpg", "cat", two)]).decode().splitlines()[1:] == ["a.jpg,cat,0,0,5,5", "a.jpg,cat,1,1,2,2"]


def test_masks_are_not_lost_unsaid(
    source: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy(source, tmp_path / "without")
    assert "masks" not in caplog.text
    read = FolderSplit.read
    mask_HW = np.zeros((4, 4), np.uint8)
    monkeypatch.setattr(FolderSplit, "read", lambda split, index: read(split, index)._replace(mask_HW=mask_HW))
    assert copy(source, tmp_path / "with") == (4, 4, [])
    assert "the train images have masks, which are not copied" in caplog.text


def test_what_is_small_already_is_copied_byte_for_byte(source: Folder, tmp_path: Path) -> None:
    copy(source, tmp_path / "to")
    assert (tmp_path / "to/train/dog/small.jpg").read_bytes() == (source.root / "train/dog/small.jpg").read_bytes()


def test_pixels_are_those_of_an_antialiased_resize(source: Folder, tmp_path: Path) -> None:
    copy(source, tmp_path / "to", quality=95)
    with Image.open(source.root / "train/cat/large.png") as image:
        expected = np.asarray(image.resize((47, 32), Image.Resampling.BILINEAR)).astype(int)
    small = np.asarray(Image.open(tmp_path / "to/train/cat/large.png.jpg")).astype(int)
    difference = np.abs(small - expected)
    assert difference.mean() < 4, "JPEG halves the resolution of colour"
    assert np.abs(small - np.roll(expected, 1, axis=1)).mean() > 2 * difference.mean(), "a pixel's shift would show"


def test_a_repeated_call_makes_only_what_is_missing(source: Folder, tmp_path: Path) -> None:
    to = tmp_path / "to"
    first = copy(source, to)
    boxes = (to / "annotations.csv").read_bytes()
    (to / "annotations.csv").unlink()
    (to / "test/cat/tall.jpg").unlink()
    (to / "test/dog/wide.jpeg").write_bytes(b"stays")
    assert copy(source, to) == first
    assert (to / "annotations.csv").read_bytes() == boxes
    assert (to / "test/cat/tall.jpg").exists()
    assert (to / "test/dog/wide.jpeg").read_bytes() == b"stays"
    assert not list(to.rglob(".*"))


def test_another_copy_s_folder_is_refused(source: Folder, tmp_path: Path) -> None:
    copy(source, tmp_path / "to")
    with pytest.raises(ValueError, match=r"holds a copy made of .*'short_side': 32.*give another folder"):
        copy(source, tmp_path / "to", short_side=16)
    with pytest.raises(ValueError, match=r"is not empty, and holds no resized\.json"):
        copy(source, source.root)
    assert json.loads((tmp_path / "to/resized.json").read_text())["quality"] == 90


def test_a_broken_image_stops_the_copy_or_is_named(source: Folder, tmp_path: Path) -> None:
    (source.root / "test/cat/tall.jpg").write_bytes((source.root / "test/cat/tall.jpg").read_bytes()[:-60])
    with pytest.raises(OSError, match=r"tall\.jpg is truncated"):
        copy(source, tmp_path / "to")
    source.on_bad_image = "skip"
    num_images, num_boxes, faults = copy(source, tmp_path / "to")  # type: ignore[misc]
    assert (num_images, num_boxes) == (3, 2)
    assert len(faults) == 1
    assert "tall.jpg is truncated" in faults[0]
    assert not (tmp_path / "to/test/cat/tall.jpg").exists()


def test_a_full_disk_is_no_fault_of_the_images(source: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.on_bad_image = "skip"

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    (tmp_path / "to").mkdir()
    copy(source, tmp_path / "to")
    (tmp_path / "to/test/cat/tall.jpg").unlink()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        copy(source, tmp_path / "to")


def test_files_of_one_name_in_one_class_stay_apart(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(buffer, "JPEG")
    for path in ("test/cat/1/a.jpg", "test/cat/2/a.jpg", "test/cat/b.jpg"):
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(buffer.getvalue())
    copy(Folder(str(tmp_path / "in")), tmp_path / "to")
    names = sorted(path.name for path in (tmp_path / "to/test/cat").iterdir())
    assert names == ["b.jpg", "test_cat_1_a.jpg", "test_cat_2_a.jpg"]
