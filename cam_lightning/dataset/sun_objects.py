"""SUN's scenes with every object annotated, in the layout of LabelMe: a photo and an XML file of polygons each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from cam_lightning.dataset.format.concept import images_below
from cam_lightning.dataset.format.labelled import LabelledPhotos, Photo
from cam_lightning.dataset.format.labelme import read_labelme
from cam_lightning.dataset.format.objects import ObjectSplit, most_common
from cam_lightning.dataset.pipeline.index import Index, Row
from cam_lightning.dataset.pipeline.option import seed, share, whole
from cam_lightning.dataset.pipeline.split import Splits, hold_out_by_id
from cam_lightning.dataset.pipeline.storage import Storage

log = logging.getLogger(__name__)


class SunObjects(LabelledPhotos):
    """`Images/…/sun_….jpg` and `Annotations/…/sun_….xml`, in equal folders; the folder is the category.

    `a/abbey` is `abbey`, and what comes before `static_sun_database/` (`users/antonio/`) is left out. Photos without
    an annotation are left out too, with a word in the log. Of the categories with at least two photos the
    `categories` with most are kept (null: all); a share `test_fraction` of each is drawn with `split_seed`. Files
    without `imagesize` are taken to be of their photo as it is. Source: Xiao et al. 2010, Russell et al. 2008.
    """

    SOURCE = "Fetch Images and Annotations of the SUN database (SUN2012.tar.gz), or of LabelMe."
    DRAWN_BY = "split_seed"

    def __init__(
        self,
        categories: int | None = 10,
        test_fraction: float = 0.3,
        split_seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.categories = None if categories is None else whole("dataset.categories", categories, 2)
        self.test_fraction = share("dataset.test_fraction", test_fraction)
        self.split_seed = seed("dataset.split_seed", split_seed)

    def display_name(self, class_name: str) -> str:
        return class_name.replace("_", " ")

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        top = self.top_of(storage, ["Images", "Annotations"], ["SUN2012"])
        photos = list(self._photos(storage, top))
        enough = {name for name in {p.class_name for p in photos} if sum(p.class_name == name for p in photos) > 1}
        photos = [photo for photo in photos if photo.class_name in enough]
        names = most_common([photos], self.categories)
        if len(names) < 2:
            raise ValueError(
                f"{storage.describe(f'{top}Images')}: {len(names)} categories have two annotated photos or more, and a "
                "scene is told from others"
            )
        label_of = {name: label for label, name in enumerate(names)}
        rows = (Row(photo.path, label_of[photo.class_name]) for photo in photos if photo.class_name in label_of)
        split = SunSplit(storage, Index.pack(rows), top)
        return Splits(names, *map(self.seen, hold_out_by_id(split, self.test_fraction, self.split_seed)))

    def _photos(self, storage: Storage, top: str) -> Iterator[Photo]:
        """The annotated ones."""
        without = []
        annotated: dict[str, set[str]] = {}
        for path in images_below(storage, f"{top}Images"):
            folder, _, file = path.removeprefix(f"{top}Images/").rpartition("/")
            if folder not in annotated:
                annotated[folder] = {*storage.names(f"{top}Annotations/{folder}".rstrip("/"))}
            if f"{file.rpartition('.')[0]}.xml" not in annotated[folder]:
                without.append(path)
                continue
            parts = folder.rpartition("static_sun_database/")[2].split("/")
            name = "/".join(parts[1:] if len(parts) > 1 and len(parts[0]) == 1 else parts)
            if name:
                yield Photo(path, name)
        if without:
            log.warning("%d photos have no annotation and are left out, such as %s", len(without), without[0])


class SunSplit(ObjectSplit):
    """Photos whose polygons are in a file of the same folder and name."""

    def __init__(self, storage: Storage, index: Index, top: str) -> None:
        super().__init__(storage, index)
        self.top = top

    def objects(self, index: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
        name = self.ids[index].removeprefix(f"{self.top}Images/").rpartition(".")[0]
        path = f"{self.top}Annotations/{name}.xml"
        file = self.storage.describe(path)
        annotation = read_labelme(self.storage.read(path), file)
        if annotation.size not in (None, size):
            height, width = annotation.size or (0, 0)
            raise ValueError(f"{file} is of a photo of {width}×{height}, and its photo is {size[1]}×{size[0]}")
        return annotation.masks(size)
