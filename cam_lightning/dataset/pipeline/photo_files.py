"""Which files are meant by `images=…`: files, folders and globs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

import yaml

from cam_lightning.dataset.pipeline.image_file import SUFFIXES, UNREAD_SUFFIXES, is_image, is_unread_photo
from cam_lightning.dataset.pipeline.walk import walk

PHOTOS = SUFFIXES | UNREAD_SUFFIXES
"""What a folder is searched for: photos, also of kinds that cannot be decoded here, so that none is missed unsaid."""


def find_photos(images: str | Sequence[str]) -> list[Path]:
    """The files of one or several paths, in the order given; those of a folder or glob sorted, each file once.

    A path that exists means itself, whatever characters it has. A folder stands for every image file in it and
    below it, links followed, hidden ones and what systems keep there left out; anything else is a glob, in which
    `**` goes down any number of folders. A list may also be given as text, `[it's.jpg, a=b.jpg]`. Raises
    FileNotFoundError for an empty path, and for a path or glob without any file.
    """
    if isinstance(images, str):
        images = _listed(images)
    if not images:
        raise FileNotFoundError("images=[] names no image: give files, folders or globs")
    return list(dict.fromkeys(path for wanted in images for path in _files(str(wanted))))


def _listed(images: str) -> list[str]:
    """The paths of a text; a list that Hydra's grammar could not read, because of an apostrophe, is read as YAML."""
    if images.startswith("[") and images.endswith("]") and not Path(images).expanduser().exists():
        try:
            # The base loader: `yes` and `1e3` are file names here.
            paths = yaml.load(images, yaml.BaseLoader)
        except yaml.YAMLError:
            paths = None
        if isinstance(paths, list) and all(isinstance(path, str) for path in paths):
            return paths
    return [images]


def _files(wanted: str) -> list[Path]:
    if not wanted.strip():
        # As a path it would be the working directory.
        raise FileNotFoundError("images= names no image: give files, folders or globs; images=. is this folder")
    path = Path(wanted).expanduser()
    if path.is_dir():
        found = sorted(_photos_below(path))
        if not found:
            raise FileNotFoundError(f"images={wanted}: the folder holds no image ({', '.join(sorted(PHOTOS))})")
        return found
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob(str(path), recursive=True))
    # A glob may name folders on its way: `**` alone names every one.
    found = [match for match in matches if match.is_file()]
    if not found:
        what = "no such file or folder" if not set("*?[") & set(wanted) else "no file matches"
        raise FileNotFoundError(f"images={wanted}: {what}, seen from {Path.cwd()}")
    return found


def _photos_below(folder: Path) -> Iterator[Path]:
    for below, _, files in walk(folder):
        for name in files:
            if (is_image(name) or is_unread_photo(name)) and (folder / below / name).is_file():
                yield folder / below / name
