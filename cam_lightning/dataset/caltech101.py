"""Caltech-101: objects in class folders; 30 of each to train and at most 50 others to test, as is usual."""

from __future__ import annotations

from typing import Any

from cam_lightning.dataset.format.labelled import DrawnPhotos, Photo, in_class_folders
from cam_lightning.dataset.pipeline.storage import Storage

BACKGROUND = "BACKGROUND_Google"
FOLDER = "101_ObjectCategories"


class Caltech101(DrawnPhotos):
    """The folders of `101_ObjectCategories`, `Faces` and `Faces_easy` both; `BACKGROUND_Google` only if asked for.

    Source: Fei-Fei et al. 2004.
    """

    SOURCE = "Fetch caltech-101.zip of Caltech's data archive and unpack 101_ObjectCategories.tar.gz of it."

    def __init__(self, background: bool = False, **common: Any) -> None:
        super().__init__(**common)
        self.background = background

    def display_name(self, class_name: str) -> str:
        return class_name.replace("_", " ")

    def photos(self, storage: Storage) -> list[Photo]:
        top = self.top_of(storage, ["accordion"], [FOLDER, f"caltech-101/{FOLDER}"])
        return in_class_folders(storage, top, () if self.background else (BACKGROUND,))
