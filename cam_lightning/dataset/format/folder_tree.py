"""What lies in a folder of images: files by split and class folder, whatever their names hold."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cam_lightning.dataset.pipeline.image_file import is_image, is_unread_photo
from cam_lightning.dataset.pipeline.walk import is_companion, walk

UNREAD = "a kind of photo that is not read here: convert it to JPEG or PNG"
SHOWN_ENTRIES, SHOWN_DEPTH = 6, 3
"""Of a tree in a message: names a folder, and folders deep."""


class ImageEntry(NamedTuple):
    """One image of the tree."""

    path: str
    """Below the tree's root, with `/`; bytes that are not UTF-8 as Python escapes them for the file system."""
    class_folder: str
    """The first folder below the split's; "" for a file that lies in none."""
    fault: str
    """What is wrong with the entry, before it is ever opened; "" for nothing."""

    @property
    def id(self) -> str:
        """The path as text that can be written anywhere."""
        return printable(self.path)


class Tree(NamedTuple):
    """Images of one folder, sorted by path, and all else that is there."""

    images: list[ImageEntry]
    class_folders: list[str]
    """Sorted, those without an image included."""
    others: list[str]
    """Files that are no images by their names."""
    left_out: list[tuple[str, str]]
    """(Why, path) of what is passed over."""


def printable(path: str) -> str:
    """A path of the file system as plain text: bytes that are not UTF-8 are written `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def class_name_of(folder: str) -> str:
    """A class's name by its folder's: printable, and composed (NFC), which macOS's file systems may not keep it."""
    return unicodedata.normalize("NFC", printable(folder))


def read_tree(root: Path, below: str = "", leave_out: Iterable[Path] = ()) -> Tree:
    """Everything below `root/below`, whose folders are classes; files may lie deeper in them. Links are followed.

    `leave_out` are folders that are not searched. Raises OSError where a folder cannot be listed.
    """
    closed = {path.resolve() for path in leave_out}
    tree = Tree([], [], [], [])
    depth = len(Path(below).parts)

    def is_closed(path: str) -> bool:
        return bool(closed) and (root / path).resolve() in closed

    def enters(path: str) -> bool:
        return not is_image(path) and not is_closed(path)

    for folder, folders, files in walk(root, below, lambda *left_out: tree.left_out.append(left_out), enters):
        parts = Path(folder).parts[depth:]
        class_folder = class_name_of(parts[0]) if parts else ""
        paths = [f"{folder}/{name}" if folder else name for name in files]
        if not class_folder:
            tree.class_folders.extend(class_name_of(Path(path).name) for path in folders if enters(path))
        named_as_images = filter(is_image, [*folders, *paths])
        tree.images.extend(ImageEntry(path, class_folder, _fault(root / path)) for path in named_as_images)
        tree.left_out.extend((UNREAD, path) for path in paths if is_unread_photo(path))
        tree.others.extend(path for path in paths if not is_image(path) and not is_unread_photo(path))
    return tree._replace(images=sorted(tree.images), class_folders=sorted(set(tree.class_folders)))


def holds_images(folder: Path, leave_out: Iterable[Path] = ()) -> bool:
    """Whether any image lies in a folder or below it; looks no further than the first."""
    closed = {path.resolve() for path in leave_out}
    return any(
        any(is_image(name) for name in files)
        for _, _, files in walk(folder, enters=lambda path: not closed or (folder / path).resolve() not in closed)
    )


def shown_tree(folder: Path, depth: int = SHOWN_DEPTH) -> str:
    """What lies in a folder, on one line: `set/{test/{cat/{1.jpg, 2.jpg}, dog/{…}}, train/{…}}`."""
    name = printable(folder.name) + "/"
    if depth == 0:
        return name + "{…}"
    entries = sorted(path for path in folder.iterdir() if not is_companion(path.name))
    shown = [shown_tree(path, depth - 1) if path.is_dir() else printable(path.name) for path in entries[:SHOWN_ENTRIES]]
    return name + "{" + ", ".join([*shown, *["…"] * (len(entries) > SHOWN_ENTRIES)]) + "}"


def _fault(path: Path) -> str:
    """What is wrong with what is named as an image, without opening it."""
    if path.is_dir():
        return f"{printable(str(path))} is a folder, though its name is an image's"
    if path.is_symlink() and not path.exists():
        return f"{printable(str(path))} is a link to {printable(os.readlink(path))}, which is not there"
    return ""
