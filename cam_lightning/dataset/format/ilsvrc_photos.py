"""Which photos of ILSVRC train and which are tested on: an official validation photo is told by its name.

Subsets such as Imagenette and Imagewoof, in their second version, are shuffled anew: official validation photos lie in
both of their folders, beside training photos. Only those have official boxes, wherever they lie, and ILSVRC's own
networks have been trained on all the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from cam_lightning.dataset.pipeline.image_file import is_image
from cam_lightning.dataset.pipeline.storage import Storage

WORDNET_ID = re.compile(r"n\d{8}")
OFFICIAL = re.compile(r"ILSVRC2012_val_\d{8}\.")


def class_folders(storage: Storage, folder: str) -> list[str]:
    """The entries of a folder that are named by a WordNet id, sorted."""
    return [name for name in storage.names(folder) if WORDNET_ID.fullmatch(name)]


def photos(storage: Storage, folder: str) -> Iterator[str]:
    """The paths of all images of a folder, flat or in class folders."""
    for within in (folder, *(f"{folder}/{wnid}" for wnid in class_folders(storage, folder))):
        yield from (f"{within}/{file}" for file in storage.names(within) if is_image(file))


def is_official(path: str) -> bool:
    """Whether an image has the name of an official validation photo."""
    return OFFICIAL.match(PurePosixPath(path).name) is not None


def are_shuffled(storage: Storage, train: tuple[str, ...], validation: str) -> bool:
    """Whether names tell training from test photos, and not folders: both are sorted, and official names occur."""
    if not train or not class_folders(storage, validation):
        return False
    return any(is_official(path) for folder in (validation, *train) for path in photos(storage, folder))


def test_photos(storage: Storage, train: tuple[str, ...], validation: str) -> list[str]:
    """The paths of the test photos; raises FileNotFoundError without any, ValueError where one lies in both folders."""
    if not are_shuffled(storage, train, validation):
        paths = list(photos(storage, validation))
    else:
        paths = [path for folder in (validation, *train) for path in photos(storage, folder) if is_official(path)]
        names: dict[str, str] = {}
        for path in paths:
            other = names.setdefault(PurePosixPath(path).name, path)
            if other != path:
                raise ValueError(
                    f"{storage.describe(path)} is there a second time, as {other}: leave one of them, since every "
                    "test photo counts once"
                )
    if not paths:
        raise FileNotFoundError(f"{storage.describe(validation)} has no images, neither flat nor in class folders")
    return paths


def training_folders(storage: Storage, train: tuple[str, ...], validation: str) -> tuple[str, ...]:
    """Where training photos lie."""
    return (*train, validation) if are_shuffled(storage, train, validation) else train
