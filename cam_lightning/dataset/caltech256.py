"""Caltech-256: objects in numbered class folders; 60 of each to train, all others to test."""

from __future__ import annotations

import re
from typing import Any

from cam_lightning.dataset.format.labelled import DrawnPhotos, Photo, in_class_folders
from cam_lightning.dataset.pipeline.storage import Storage

CLUTTER = "257.clutter"
FOLDER = "256_ObjectCategories"


class Caltech256(DrawnPhotos):
    """The folders of `256_ObjectCategories`, as `001.ak47`; `257.clutter` only if asked for.

    What lies in folders within a class's, or is no image, is not part of the data: the archive has a few such.
    Source: Griffin et al. 2007.
    """

    SOURCE = "Fetch 256_ObjectCategories.tar of Caltech's data archive."

    def __init__(self, clutter: bool = False, **common: Any) -> None:
        super().__init__(**common)
        self.clutter = clutter

    def display_name(self, class_name: str) -> str:
        return class_name.partition(".")[2].replace("-", " ") or class_name

    def photos(self, storage: Storage) -> list[Photo]:
        top = self.top_of(storage, ["001.ak47"], [FOLDER])
        photos = in_class_folders(storage, top, () if self.clutter else (CLUTTER,))
        odd = [photo.class_name for photo in photos if not re.fullmatch(r"\d{3}\..+", photo.class_name)]
        if odd:
            raise ValueError(
                f"{storage.describe(top + odd[0])} is no class of Caltech-256, whose folders are as 001.ak47"
            )
        return photos
