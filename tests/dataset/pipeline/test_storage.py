"""Files in a folder and in a zip look alike."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cam_lightning.dataset.pipeline.storage import Storage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    (root / "b" / "inner").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "z.txt").write_text("one\n\n  \ntwo\r\nthree", encoding="utf-8")
    (root / "b" / "x.bin").write_bytes(bytes(range(256)))
    (root / "b" / "inner" / "ü.txt").write_text("äöü")
    return root


@pytest.fixture(params=["folder", "zip", "zip with a top folder"])
def storage(request: pytest.FixtureRequest, folder: Path, zipped: Callable[..., Path]) -> Storage:
    if request.param == "folder":
        return Storage(folder)
    return Storage(zipped(folder, top="" if request.param == "zip" else "top folder/"))


def test_names_are_sorted_and_those_of_one_folder(storage: Storage) -> None:
    assert storage.names("") == ["b", "empty", "z.txt"]
    assert storage.names("b") == ["inner", "x.bin"]
    assert storage.names("b/inner") == ["ü.txt"]
    assert storage.names("empty") == storage.names("nowhere") == storage.names("z.txt") == []


def test_bytes_and_lines(storage: Storage) -> None:
    assert storage.read("b/x.bin") == bytes(range(256))
    assert storage.read_lines("z.txt") == ["one", "two", "three"]
    assert storage.read_lines("b/inner/ü.txt") == ["äöü"]


@pytest.mark.parametrize("path", ["b/nothing.txt", "nowhere/x.bin"])
def test_a_missing_file_is_named_in_full(storage: Storage, path: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        storage.read(path)
    assert str(caught.value) == f"{storage.describe(path)} does not exist"
    assert str(caught.value).startswith(str(storage.root))
    assert path in str(caught.value)


def test_text_in_another_encoding_is_named(storage: Storage) -> None:
    with pytest.raises(ValueError, match=r"b/x\.bin is not UTF-8 text"):
        storage.read_lines("b/x.bin")


def test_it_travels_to_another_process(storage: Storage) -> None:
    storage.read("b/x.bin")
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.read("b/x.bin") == bytes(range(256))


def test_a_forked_process_opens_the_archive_for_itself(folder: Path, zipped: Callable[..., Path]) -> None:
    """A handle that two processes share has one position: each would read from where the other stopped."""
    storage = Storage(zipped(folder))
    storage.read("b/x.bin")
    ours = storage._open()
    child = os.fork()
    if child == 0:
        os._exit(0 if storage._open() is not ours and storage.read("b/x.bin") == bytes(range(256)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert storage._open() is ours


def test_a_zip_of_one_file_shows_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("alone.txt", "text")
    storage = Storage(tmp_path / "one.zip")
    assert storage.names("") == ["alone.txt"]
    assert storage.read_lines("alone.txt") == ["text"]


def test_a_zip_of_nothing_has_no_names(tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "none.zip", "w").close()
    assert Storage(tmp_path / "none.zip").names("") == []


def test_damage_in_an_archive_is_named(folder: Path, zipped: Callable[..., Path]) -> None:
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    data[data.index(bytes(range(256))) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"tiny\.zip!tiny-imagenet-3/b/x\.bin is damaged in the archive"):
        Storage(path).read("b/x.bin")


def test_a_root_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Storage(tmp_path / "no where")
    assert str(caught.value) == f"dataset.root={tmp_path / 'no where'} does not exist"


def test_a_root_that_is_another_file(tmp_path: Path) -> None:
    (tmp_path / "data.tar").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"dataset\.root=.*data\.tar is neither a folder nor a zip archive"):
        Storage(tmp_path / "data.tar")


def test_the_home_folder_and_relative_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root is made absolute at once: workers or a later `chdir` must not change what it means."""
    monkeypatch.setenv("HOME", str(folder.parent))
    assert Storage("~/folder").names("b") == ["inner", "x.bin"]
    monkeypatch.chdir(folder.parent)
    storage = Storage("folder")
    monkeypatch.chdir("/")
    assert storage.names("b") == ["inner", "x.bin"]


def pack(path: Path, names: dict[str, bytes]) -> Storage:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return Storage(path)


@pytest.mark.parametrize(
    "extra",
    [
        ["__MACOSX/", "__MACOSX/._top", "__MACOSX/top/._a.txt", "top/.DS_Store"],
        ["top/b/@eaDir/x.jpg/THUMB.jpg", "top/b/Thumbs.db", "desktop.ini"],
        [".DS_Store", "top/.ipynb_checkpoints/a-checkpoint.txt"],
    ],
)
def test_what_systems_pack_is_not_there(tmp_path: Path, extra: list[str]) -> None:
    storage = pack(tmp_path / "it.zip", dict.fromkeys([extra[0], "top/a.txt", "top/b/c.txt", *extra[1:]], b"x"))
    assert storage.prefix == "top/"
    assert (storage.names(""), storage.names("b")) == (["a.txt", "b"], ["c.txt"])
    assert storage.read("b/c.txt") == b"x"


@pytest.mark.parametrize("spelt", ["./top/b/c.txt", "top\\b\\c.txt"])
def test_names_as_other_packers_write_them(tmp_path: Path, spelt: str) -> None:
    storage = pack(tmp_path / "it.zip", {spelt.replace("b", "a"): b"first", spelt: b"\xef\xbb\xbfsecond\r\n"})
    assert (storage.prefix, storage.names(""), storage.names("b")) == ("top/", ["a", "b"], ["c.txt"])
    assert storage.read("a/c.txt") == b"first"
    assert pickle.loads(pickle.dumps(storage)).read_lines("b/c.txt") == ["second"]


def test_companions_in_a_folder_are_not_listed(tmp_path: Path) -> None:
    for name in ("._a", ".DS_Store", "@eaDir", "Thumbs.db", "a"):
        (tmp_path / name).mkdir()
    assert Storage(tmp_path).names("") == ["a"]


def test_encrypted_and_broken_archives_are_named(tmp_path: Path) -> None:
    """The bit that says that a file is encrypted, in both of its headers."""
    pack(tmp_path / "it.zip", {"top/a.txt": b"x"})
    data = bytearray((tmp_path / "it.zip").read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    (tmp_path / "it.zip").write_bytes(data)
    with pytest.raises(OSError, match=r"it\.zip!top/a\.txt cannot be unpacked: .*encrypted"):
        Storage(tmp_path / "it.zip").read("a.txt")
    data[data.index(b"PK\1\2")] = 0
    (tmp_path / "it.zip").write_bytes(data)
    with pytest.raises(ValueError, match=r"it\.zip is no zip archive that can be read"):
        Storage(tmp_path / "it.zip")
