"""A smaller copy: sizes, boxes and classes follow, nothing grows, and a broken-off call goes on where it was."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cam_lightning.dataset.folder import Folder, FolderSplit
from cam_lightning.dataset.tool.resize import _table, copy_paths, resize

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
    (to / "test/dog/wide.jpeg").write_bytes(b"half a file")
    kept = {path: (to / path).stat().st_mtime_ns for path in ("train/cat/large.png.jpg", "train/dog/small.jpg")}
    whole = (to / "train/cat/large.png.jpg").read_bytes()
    assert copy(source, to) == first
    assert (to / "annotations.csv").read_bytes() == boxes
    assert (to / "test/cat/tall.jpg").exists()
    assert Image.open(to / "test/dog/wide.jpeg").size == (128, 32)
    assert {path: (to / path).stat().st_mtime_ns for path in kept} == kept
    assert (to / "train/cat/large.png.jpg").read_bytes() == whole
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


def jpeg(path: Path, grey: int, side: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (grey, grey, grey)).save(path)
    return path


@pytest.mark.parametrize("path", ["cat/small.jpg", "cat/large.jpg", "dog/large.png"])
def test_what_has_changed_is_made_again(tmp_path: Path, path: str) -> None:
    for number, each in enumerate(("cat/small.jpg", "cat/large.jpg", "dog/large.png", "dog/small.png")):
        jpeg(tmp_path / "in" / each, 10 * number, 8 if "small" in each else 80)
    data = Folder(str(tmp_path / "in"), test_fraction=1)
    copy(data, tmp_path / "to")
    copied = tmp_path / "to/test" / (path if not path.endswith("large.png") else f"{path}.jpg")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "to").rglob("*.*g") if file != copied}
    jpeg(tmp_path / "in" / path, 200, 8 if "small" in path else 80)
    copy(Folder(str(tmp_path / "in"), test_fraction=1), tmp_path / "to")
    assert np.asarray(Image.open(copied)).mean() == pytest.approx(200, abs=2)
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.parametrize("change", ["another seed", "a file more", "a file less"])
def test_other_splits_are_no_part_of_a_copy(tmp_path: Path, change: str) -> None:
    for number in range(30):
        jpeg(tmp_path / "in" / ("cat", "dog")[number % 2] / f"{number}.jpg", number)
    copy(Folder(str(tmp_path / "in")), tmp_path / "to")
    if change == "a file more":
        jpeg(tmp_path / "in/cat/new.jpg", 99)
    elif change == "a file less":
        (tmp_path / "in/cat/0.jpg").unlink()
    with pytest.raises(ValueError, match=r"holds a copy made of \{.*'ids'.*give another folder"):
        copy(Folder(str(tmp_path / "in"), split_seed=int(change == "another seed")), tmp_path / "to")


@pytest.mark.parametrize(
    "ids",
    [
        ["a/x/y/1.jpg", "a/x_y/1.jpg"], ["a/1.png", "a/1.png.jpg"], ["a/1.png", "a/1.png.JPG", "a/b/1.png"],
        ["a/1.jpg", "a/b/1.JPG"], ["a/b/c.jpg", "a/b_c.jpg", "a/c.jpg"], ["a/.jpg", "a/b/.jpg", "a/..jpg"],
        ["a/" + "x" * 240 + ".jpg", "a/b/" + "x" * 240 + ".jpg"], ["a/Thumbs.db", "a/b/thumbs.db"],
        ["a/1.tif", "a/1.tif.jpg", "a/2/1.tif", "a_1.tif", "a/1.tif.jpg.jpg"],
    ],
    ids=lambda ids: ids[0][:20],
)  # fmt: skip
def test_no_two_copies_are_one_file(ids: list[str]) -> None:
    """Whichever of them become JPEGs, on any file system, read by any reader."""
    paths = copy_paths(["test/cat"] * len(ids), ids)
    files = [{path, path if path.lower().endswith((".jpg", ".jpeg")) else f"{path}.jpg"} for path in paths]
    assert len({file.casefold() for both in files for file in both}) == sum(map(len, files))
    for path in paths:
        assert path.startswith("test/cat/")
        assert not path[9:].startswith(".")
        assert len(path[9:].encode()) <= 250
    assert copy_paths(["test/cat"] * len(ids), ids) == paths


def test_flattened_names_that_meet_keep_their_pixels(tmp_path: Path) -> None:
    for grey, path in (
        (10, "a/x/y/1.jpg"),
        (60, "a/x_y/1.jpg"),
        (110, "a/1.png"),
        (160, "a/1.png.jpg"),
        (210, "a/2.jpg"),
    ):
        jpeg(tmp_path / "in" / path, grey, 80)
    assert copy(Folder(str(tmp_path / "in"), test_fraction=1), tmp_path / "to", 8).num_images == 5  # type: ignore[attr-defined]
    found = Folder(str(tmp_path / "to"), test_fraction=1).read_splits().test
    greys = sorted(round(float(found.read(i).image_HW3.mean()) / 10) * 10 for i in range(len(found)))
    assert greys == [10, 60, 110, 160, 210]


def test_photos_that_are_read_upright_are_copied_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in/cat").mkdir(parents=True)
    for side in (30, 90):
        Image.linear_gradient("L").resize((2 * side, side)).save(tmp_path / f"in/cat/{side}.jpg", exif=exif)
    (tmp_path / "in/annotations.csv").write_text("image,x0,y0,x1,y1\n30.jpg,1,2,29,58\n90.jpg,0,0,90,180\n")
    source = Folder(str(tmp_path / "in"), format="csv", test_fraction=1, exif="upright")
    copy(source, tmp_path / "to", 45)
    found = Folder(str(tmp_path / "to"), format="csv", test_fraction=1).read_splits().test
    assert [found.read(i).image_HW3.shape[:2] for i in range(2)] == [(60, 30), (90, 45)]
    assert [found.read(i).boxes_N4.tolist() for i in range(2)] == [[[1, 2, 29, 58]], [[0, 0, 45, 90]]]
