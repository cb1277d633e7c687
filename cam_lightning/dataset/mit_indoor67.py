"""MIT Indoor67: 67 indoor scenes, with official lists of about 80 training and 20 test images a class."""

from __future__ import annotations

from cam_lightning.dataset.format.labelled import ListedPhotos, Photo
from cam_lightning.dataset.pipeline.storage import Storage

LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}


class MitIndoor67(ListedPhotos):
    """Classes are the folders below `Images`, sorted, spelt as they are shipped (`kindergarden`, `stairscase`).

    A line of a list is `class/file`; files' names may hold spaces. Source: Quattoni and Torralba 2009.
    """

    SOURCE = "Fetch indoorCVPR_09.tar, TrainImages.txt and TestImages.txt of MIT's Indoor Scene Recognition project."

    def display_name(self, class_name: str) -> str:
        return class_name.replace("_", " ")

    def listed(self, storage: Storage) -> tuple[list[str], dict[str, list[Photo]]]:
        top = self.top_of(storage, ["Images", *LISTS.values()], ["indoorCVPR_09"])
        parts = {part: _photos(storage, top, f"{top}{file}") for part, file in LISTS.items()}
        return sorted({photo.class_name for photos in parts.values() for photo in photos}), parts


def _photos(storage: Storage, top: str, file: str) -> list[Photo]:
    photos = []
    for line in storage.read_lines(file):
        class_name, _, name = line.strip().partition("/")
        if not class_name or not name:
            raise ValueError(f"{storage.describe(file)}: expected lines such as gameroom/bt_1.jpg, got {line!r}")
        photos.append(Photo(f"{top}Images/{class_name}/{name}", class_name))
    return photos
