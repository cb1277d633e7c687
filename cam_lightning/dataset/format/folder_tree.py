"""What lies in a folder of images: files by split and class folder, whatever their names hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cam_lightning.dataset.pipeline.index import is_image


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
    """Images of one folder, sorted by path, and what else is there."""

    images: list[ImageEntry]
    class_folders: list[str]
    """Sorted, those without an image included."""
    others: list[str]
    """Files that are no images by their names; hidden ones are not listed."""


def printable(path: str) -> str:
    """A path of the file system as plain text: bytes that are not UTF-8 are written `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_tree(root: Path, below: str = "", leave_out: Iterable[Path] = ()) -> Tree:
    """Everything below `root/below`, whose folders are classes; files may lie deeper in them. Links are followed.

    `leave_out` are folders that are not searched. Raises OSError where a folder cannot be listed.
    """
    left_out = {path.resolve() for path in leave_out}
    images: list[ImageEntry] = []
    class_folders: list[str] = []
    others: list[str] = []
    visited: set[Path] = set()

    def walk(folder: str, class_folder: str) -> None:
        real = (root / folder).resolve()
        if real in visited or real in left_out:
            # A link to a folder above would go round for ever.
            return
        visited.add(real)
        for name in sorted(os.listdir(root / folder)):
            if name.startswith("."):
                continue
            path = f"{folder}/{name}" if folder else name
            full = root / path
            if is_image(name):
                fault = ""
                if full.is_dir():
                    fault = f"{printable(str(full))} is a folder, though its name is an image's"
                elif full.is_symlink() and not full.exists():
                    fault = f"{printable(str(full))} is a link to {printable(os.readlink(full))}, which is not there"
                images.append(ImageEntry(path, class_folder, fault))
            elif full.is_dir():
                if not class_folder:
                    if (root / path).resolve() in left_out:
                        continue
                    class_folders.append(printable(name))
                walk(path, class_folder or printable(name))
            else:
                others.append(path)

    walk(below, "")
    return Tree(sorted(images), sorted(class_folders), others)


class Endings:
    """Finds an image by the end of its path: `a.jpg`, `cat/a.jpg` and `train/cat/a.jpg` may all name the same one."""

    def __init__(self, paths: Iterable[str], with_suffix: bool) -> None:
        self.with_suffix = with_suffix
        self._found: dict[str, list[int]] = {}
        for index, path in enumerate(paths):
            parts = self._key(path).split("/")
            for start in range(len(parts)):
                self._found.setdefault("/".join(parts[start:]), []).append(index)

    def find(self, ending: str) -> list[int]:
        """The images that the ending names: none, one, or several where it does not say which."""
        return self._found.get(ending.removeprefix("./"), [])

    def _key(self, path: str) -> str:
        return path if self.with_suffix else os.path.splitext(path)[0]
