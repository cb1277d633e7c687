"""Scene15: fifteen scenes in grey photos; 100 of each to train, all others to test."""

from __future__ import annotations

import re
from typing import Any

from cam_lightning.dataset.format.labelled import DrawnPhotos, Photo, in_class_folders
from cam_lightning.dataset.pipeline.split import Splits
from cam_lightning.dataset.pipeline.storage import Storage

CLASSES = (
    *("bedroom", "coast", "forest", "highway", "industrial", "insidecity", "kitchen", "livingroom"),
    *("mountain", "office", "opencountry", "store", "street", "suburb", "tallbuilding"),
)
LABS = ("mit", "cal", "par")
"""Where some of the classes come from, as the original's folders say: `MITcoast`, `CALsuburb`, `PARoffice`."""


class Scene15(DrawnPhotos):
    """Folders whose names mean one of the fifteen classes: `MITcoast`, `Coast`, `tall building`, `livingRoom`.

    Copies with folders `train` and `test` have a split of their own, which is taken where `split_seed` is None;
    else, and with a `split_seed`, the photos of all folders are drawn from. Grey photos become three equal channels.
    Source: Lazebnik et al. 2006.
    """

    SOURCE = "Fetch scene_categories.zip of Lazebnik's fifteen scene categories."

    def __init__(self, split_seed: int | None = None, **common: Any) -> None:
        super().__init__(split_seed=split_seed or 0, **common)
        self.is_drawn = split_seed is not None

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        for top in ("", "data/"):
            folders = {name.lower(): f"{top}{name}/" for name in storage.names(top.rstrip("/"))}
            if {"train", "test"} <= set(folders):
                parts = {part: _photos(storage, folders[part]) for part in ("train", "test")}
                if self.is_drawn:
                    return self.drawn(storage, [photo for photos in parts.values() for photo in photos])
                names = sorted({photo.class_name for photos in parts.values() for photo in photos})
                train, test = (self.seen(self.split_of(storage, parts[part], names)) for part in ("train", "test"))
                return Splits(names, train, test)
        return super().read_splits()

    def photos(self, storage: Storage) -> list[Photo]:
        tops = ("", "scene_categories/", "15-Scene/", "data/")
        top = next((top for top in tops if in_class_folders(storage, top)), None)
        if top is None:
            raise self.not_laid_out(
                storage, f"folders of the classes {', '.join(CLASSES)}, or train and test with these"
            )
        return _photos(storage, top)


def _photos(storage: Storage, top: str) -> list[Photo]:
    photos = in_class_folders(storage, top)
    if not photos:
        raise FileNotFoundError(f"{storage.describe(top)} has no folder with images")
    class_of = {folder: _meant(folder) for folder in {photo.class_name for photo in photos}}
    unknown = sorted(folder for folder, name in class_of.items() if name is None)
    if unknown:
        raise ValueError(
            f"{storage.describe(top + unknown[0])} is none of Scene15's classes ({', '.join(CLASSES)}). "
            "Other scenes are read by dataset=folder"
        )
    return [Photo(photo.path, class_of[photo.class_name] or "") for photo in photos]


def _meant(folder: str) -> str | None:
    """The class that a folder's name means; None for another."""
    name = re.sub(r"[^a-z]", "", folder.lower())
    return next((each for each in (name, name[3:] if name[:3] in LABS else "") if each in CLASSES), None)
