"""ADE20K's scenes with every object annotated, in the release of its scene parsing benchmark."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from cam_lightning.dataset.format.labelled import ListedPhotos, Photo
from cam_lightning.dataset.format.objects import ObjectSplit, most_common
from cam_lightning.dataset.pipeline.image_file import is_image
from cam_lightning.dataset.pipeline.index import Index, Row
from cam_lightning.dataset.pipeline.mask_file import read_grey
from cam_lightning.dataset.pipeline.option import whole
from cam_lightning.dataset.pipeline.split import Splits
from cam_lightning.dataset.pipeline.storage import Storage

PARTS = {"train": "training", "test": "validation"}


class Ade20k(ListedPhotos):
    """`ADEChallengeData2016`: a scene category for each image, and one of 150 objects for each pixel.

    Categories are those of `sceneCategories.txt`, the `categories` with most images (null: all that both parts have).
    Objects are those of `objectInfo150.txt`; pixels of none of them are 0 in `annotations/…/NAME.png`. `training` is
    the training split, `validation` the test split. Source: Zhou et al. 2017.
    """

    SOURCE = "Fetch ADEChallengeData2016.zip of MIT's scene parsing benchmark."

    def __init__(self, categories: int | None = 10, **common: Any) -> None:
        super().__init__(**common)
        self.categories = None if categories is None else whole("dataset.categories", categories, 2)

    def display_name(self, class_name: str) -> str:
        return class_name.replace("_", " ")

    def listed(self, storage: Storage) -> tuple[list[str], dict[str, list[Photo]]]:
        wanted = ["images", "annotations", "sceneCategories.txt", "objectInfo150.txt"]
        self._top = top = self.top_of(storage, wanted, ["ADEChallengeData2016"])
        self._object_names = _object_names(storage, f"{top}objectInfo150.txt")
        category_of = _categories(storage, f"{top}sceneCategories.txt")
        parts: dict[str, list[Photo]] = {}
        for part, folder in PARTS.items():
            files = [name for name in storage.names(f"{top}images/{folder}") if is_image(name)]
            missing = [name for name in files if name.rpartition(".")[0] not in category_of]
            if missing or not files:
                what = f"{missing[0]} has no line in sceneCategories.txt" if missing else "there is no image"
                raise ValueError(f"{storage.describe(f'{top}images/{folder}')}: {what}")
            parts[part] = [Photo(f"{top}images/{folder}/{n}", category_of[n.rpartition(".")[0]]) for n in files]
        names = most_common(list(parts.values()), self.categories)
        return names, {part: [p for p in photos if p.class_name in names] for part, photos in parts.items()}

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        names, parts = self.listed(storage)
        self.require_files(
            storage, [_annotation(self._top, p.path) for photos in parts.values() for p in photos], "an image"
        )
        label_of = {name: label for label, name in enumerate(names)}
        splits = [
            AdeSplit(
                storage,
                Index.pack(Row(photo.path, label_of[photo.class_name]) for photo in parts[part]),
                self._top,
                self._object_names,
            )
            for part in PARTS
        ]
        return Splits(names, *map(self.seen, splits))


class AdeSplit(ObjectSplit):
    """Images whose pixels' objects are in a file of the same name."""

    def __init__(self, storage: Storage, index: Index, top: str, object_names: list[str]) -> None:
        super().__init__(storage, index)
        self.top = top
        self.object_names = object_names

    def objects(self, index: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
        path = _annotation(self.top, self.ids[index])
        number_HW = read_grey(self.storage, path)
        if number_HW.shape != size:
            height, width = number_HW.shape
            raise ValueError(f"{self.storage.describe(path)} is {width}×{height}, and its image {size[1]}×{size[0]}")
        numbers = [number for number in np.unique(number_HW).tolist() if number]
        if numbers and numbers[-1] > len(self.object_names):
            raise ValueError(
                f"{self.storage.describe(path)} has object {numbers[-1]}, of {len(self.object_names)} in "
                "objectInfo150.txt"
            )
        return {self.object_names[number - 1]: number_HW == number for number in numbers}


def _annotation(top: str, path: str) -> str:
    return f"{top}annotations/{path.removeprefix(f'{top}images/').rpartition('.')[0]}.png"


def _object_names(storage: Storage, path: str) -> list[str]:
    """Lines `1<TAB>0.1576<TAB>11664<TAB>1172<TAB>wall` below a header, numbered from 1; the name is last."""
    names = []
    for number, line in enumerate(storage.read_lines(path)[1:], start=1):
        cells = [cell.strip() for cell in re.split(r"\t+", line.strip())]
        if len(cells) < 2 or cells[0] != str(number):
            raise ValueError(f"{storage.describe(path)}: expected object {number} with tabs between, got {line!r:.80}")
        # `wall`, or with its synonyms `door, double door`, which the first stands for; two may begin alike.
        name = cells[-1].partition(",")[0].strip()
        names.append(cells[-1] if name in names else name)
    if not names:
        raise ValueError(f"{storage.describe(path)} lists no object below its header")
    return names


def _categories(storage: Storage, path: str) -> dict[str, str]:
    """Lines `ADE_train_00000001 airport_terminal`."""
    category_of = {}
    for line in storage.read_lines(path):
        cells = line.split()
        if len(cells) != 2:
            raise ValueError(
                f"{storage.describe(path)}: expected lines such as ADE_train_00000001 abbey, got {line!r:.80}"
            )
        category_of[cells[0]] = cells[1]
    return category_of
