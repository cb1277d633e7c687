"""Every way to name one's own photos."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cam_lightning.dataset.pipeline.photo_files import find_photos

AWKWARD = ("it's here.jpg", "a=b.png", "one, two.JPG", "sp ace.jpeg", "[1].jpg", "50 %*.webp", "ümlaut?.gif", "yes.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of photos and other files, with folders below it, some of them hidden."""
    for name in (*AWKWARD, "notes.txt", "sub/deep er/x.TIFF", "sub/b.jpg", ".hidden.jpg", ".cache/thumb.jpg"):
        path = tmp_path / "it's = photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "it's = photos" / "folder.jpg").mkdir()
    return tmp_path / "it's = photos"


@pytest.mark.parametrize("name", AWKWARD)
def test_a_file_means_itself_whatever_its_name(folder: Path, name: str) -> None:
    assert find_photos(str(folder / name)) == [folder / name]
    assert find_photos([str(folder / name)]) == [folder / name]


def test_a_folder_means_the_photos_in_it_and_below(folder: Path) -> None:
    expected = [folder / name for name in (*AWKWARD, "sub/deep er/x.TIFF", "sub/b.jpg")]
    assert find_photos(str(folder)) == sorted(expected)


def test_globs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find_photos("*.jpg") == [Path(name) for name in ("[1].jpg", "it's here.jpg", "yes.jpg")]
    assert find_photos("**/*.jpg") == [Path(n) for n in ("[1].jpg", "it's here.jpg", "sub/b.jpg", "yes.jpg")]
    assert find_photos("s*/*/x.*") == [Path("sub/deep er/x.TIFF")]


def test_several_keep_their_order_and_come_once(folder: Path) -> None:
    wanted = [f"{folder}/yes.jpg", f"{folder}/sub", f"{folder}/*.jpg"]
    names = [str(path.relative_to(folder)) for path in find_photos(wanted)]
    assert names == ["yes.jpg", "sub/b.jpg", "sub/deep er/x.TIFF", "[1].jpg", "it's here.jpg"]


def test_a_list_that_hydra_cannot_read_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's lists know no apostrophe outside quotes; names that look like other values stay names."""
    monkeypatch.chdir(folder)
    for name in ("1e3", "no"):
        (folder / name).touch()
    assert find_photos("[it's here.jpg, a=b.png,no,1e3]") == [
        Path(name) for name in ("it's here.jpg", "a=b.png", "no", "1e3")
    ]
    assert find_photos("[1].jpg") == [Path("[1].jpg")]


def test_home_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert find_photos("~/yes.jpg") == [folder / "yes.jpg"]


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wanted, reason in (
        (f"{tmp_path}/no.jpg", "no such file or folder"),
        (f"{tmp_path}/*.bmp", "no file matches"),
        (f"{tmp_path}/empty", "holds no image (.apng, "),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            find_photos([str(folder), wanted])
        assert f"images={wanted}: " in str(caught.value)
        assert reason in str(caught.value)
    with pytest.raises(FileNotFoundError, match="names no image"):
        find_photos([])


def test_a_name_that_is_no_text_is_found(tmp_path: Path) -> None:
    stray = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")
    Path(stray).touch()
    assert find_photos(str(tmp_path)) == [Path(stray)]


def test_what_systems_keep_is_no_photo_and_links_are_followed_once(folder: Path, tmp_path: Path) -> None:
    for name in ("@eaDir/yes.jpg/THUMB_M.jpg", "sub/._b.jpg", "__MACOSX/yes.jpg", "new/IMG_1.HEIC", "new/x.jfif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far.png").touch()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "sub" / "round").symlink_to(folder)
    more = ("sub/deep er/x.TIFF", "sub/b.jpg", "new/IMG_1.HEIC", "new/x.jfif", "linked/far.png")
    assert find_photos(str(folder)) == sorted(folder / name for name in (*AWKWARD, *more))
