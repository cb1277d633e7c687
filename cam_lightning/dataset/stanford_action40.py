"""Stanford 40 Actions: what people do, 100 training images a class by the official lists."""

from __future__ import annotations

from cam_lightning.dataset.format.labelled import ListedPhotos, Photo
from cam_lightning.dataset.pipeline.storage import Storage


class StanfordAction40(ListedPhotos):
    """Classes are what files' names say before their last underscore: `writing_on_a_book_001.jpg`; sorted.

    Images lie in `JPEGImages`, the lists `train.txt` and `test.txt` in `ImageSplits`. The people's boxes are not
    read: features are of the whole image. Source: Yao et al. 2011.
    """

    SOURCE = "Fetch Stanford40_JPEGImages.zip and Stanford40_ImageSplits.zip of Stanford's 40 Actions."

    def display_name(self, class_name: str) -> str:
        return class_name.replace("_", " ")

    def listed(self, storage: Storage) -> tuple[list[str], dict[str, list[Photo]]]:
        top = self.top_of(storage, ["JPEGImages", "ImageSplits"], ["Stanford40"])
        parts = {part: _photos(storage, top, f"{top}ImageSplits/{part}.txt") for part in ("train", "test")}
        return sorted({photo.class_name for photos in parts.values() for photo in photos}), parts


def _photos(storage: Storage, top: str, file: str) -> list[Photo]:
    photos = []
    for line in storage.read_lines(file):
        name = line.strip()
        class_name, _, number = name.rpartition(".")[0].rpartition("_")
        if not class_name or not number.isdecimal() or "/" in name:
            raise ValueError(f"{storage.describe(file)}: expected lines such as applauding_001.jpg, got {line!r}")
        photos.append(Photo(f"{top}JPEGImages/{name}", class_name))
    return photos
