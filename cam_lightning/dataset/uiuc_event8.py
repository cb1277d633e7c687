"""UIUC Event8: eight sports events in class folders; 70 of each to train and 60 others to test."""

from __future__ import annotations

from cam_lightning.dataset.format.labelled import DrawnPhotos, Photo, in_class_folders
from cam_lightning.dataset.pipeline.storage import Storage

NUM_CLASSES = 8


class UiucEvent8(DrawnPhotos):
    """The eight folders of `event_img`, such as `RockClimbing`. Source: Li and Fei-Fei 2007."""

    SOURCE = "Fetch event_dataset.rar of the project What, Where and Who, and unpack it."

    def photos(self, storage: Storage) -> list[Photo]:
        for top in ("", "event_img/", "event_dataset/event_img/"):
            photos = in_class_folders(storage, top)
            names = sorted({photo.class_name for photo in photos})
            if len(names) == NUM_CLASSES:
                return photos
            if names:
                raise ValueError(
                    f"{storage.describe(top)} has {len(names)} folders with images ({', '.join(names[:10])}); "
                    f"UIUC Event8 has {NUM_CLASSES}"
                )
        raise self.not_laid_out(storage, f"{NUM_CLASSES} folders with images, such as badminton and RockClimbing")
