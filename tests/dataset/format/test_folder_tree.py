"""Every file below a folder of images is read, or counted and named by reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from photo_tree import checked, counts, photo, photos, write

from cam_lightning.dataset.folder import Folder
from cam_lightning.dataset.format.folder_tree import read_tree, shown_tree
from cam_lightning.dataset.pipeline.walk import is_companion


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [("jfif", "JPEG"), ("JPE", "JPEG"), ("jif", "JPEG"), ("ppm", "PPM"), ("Pgm", "PPM"), ("pnm", "PPM"), ("dib", "DIB"),
     ("jp2", "JPEG2000"), ("J2K", "JPEG2000"), ("avif", "AVIF"), ("TIFF", "TIFF"), ("webp", "WEBP")],
)  # fmt: skip
def test_what_can_be_decoded_is_read(tmp_path: Path, suffix: str, kind: str) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / name / f"1.{suffix}", photo(ord(name[0]), kind=kind))
        write(tmp_path / name / f"2.{suffix}", photo(200 + ord(name[0]), kind=kind))
    report = checked(tmp_path, test_fraction=1)
    assert counts(report) == {"test": {"cat": 2, "dog": 2}}
    assert report.wrong == []
    assert Folder(str(tmp_path), test_fraction=1).read_splits().test.read(0).image_HW3.shape == (30, 50, 3)


@pytest.mark.parametrize(
    "names", [["cat/7.heic", "dog/7.HEIC"], ["cat/raw.CR2"], ["cat/a.psd", "cat/x.jxl", "dog/IMG 1"]]
)
def test_what_cannot_be_is_named_with_its_reason(
    tmp_path: Path, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    photos(tmp_path, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg", *names)
    Folder(str(tmp_path)).setup()
    assert "files are left out" in caplog.text
    assert names[0] in caplog.text
    report = checked(tmp_path, test_fraction=1)
    named = [
        finding.what.partition(":")[0] for finding in report.findings if finding.kind in ("left out", "extra file")
    ]
    assert sorted(named) == sorted(names)
    assert report.wrong == []


def test_without_any_image_it_says_what_counts_as_one(tmp_path: Path) -> None:
    photos(tmp_path, "cat/1.heic", "cat/2.heic", "dog/notes.txt")
    with pytest.raises(
        ValueError, match=r"looked at 0 images, and 3 other files, such as .*What counts.*\.avif.*\.ppm"
    ):
        Folder(str(tmp_path)).setup()


def test_links_are_followed_and_cycles_are_named(tmp_path: Path) -> None:
    photos(tmp_path / "far", "deep/1.jpg", "2.jpg")
    photos(tmp_path / "set", "cat/3.jpg", "dog/4.jpg")
    (tmp_path / "set" / "cat" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "set" / "dog" / "5.jpg").symlink_to(tmp_path / "far" / "2.jpg")
    (tmp_path / "set" / "dog" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "far" / "deep" / "self").symlink_to(tmp_path / "far" / "deep")
    (tmp_path / "set" / "emu").symlink_to(tmp_path / "far")
    tree = read_tree(tmp_path / "set")
    assert [entry.path for entry in tree.images] == [
        "cat/3.jpg", "cat/linked/2.jpg", "cat/linked/deep/1.jpg", "dog/4.jpg", "dog/5.jpg", "emu/2.jpg",
        "emu/deep/1.jpg",
    ]  # fmt: skip
    assert tree.class_folders == ["cat", "dog", "emu"]
    assert sorted(path for why, path in tree.left_out if "link back" in why) == [
        "cat/linked/deep/self", "dog/up", "emu/deep/self",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [("@eaDir", True), ("THUMBS.DB", True), ("__MACOSX", True), ("._a.jpg", True), ("Icon\r", True), ("cat", False),
     ("desktop", False), ("thumbs", False), ("@home", False), ("a.jpg@SynoEAStream", True), ("lost", False)],
)  # fmt: skip
def test_what_systems_keep(name: str, expected: bool) -> None:
    assert is_companion(name) == expected


def test_a_tree_on_one_line(tmp_path: Path) -> None:
    photos(tmp_path / "set", "a/1.jpg", "a/b/c/d.jpg", ".hidden/1.jpg", *(f"b/{number}.jpg" for number in range(9)))
    assert shown_tree(tmp_path / "set") == (
        "set/{a/{1.jpg, b/{c/{…}}}, b/{0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg, …}}"
    )
