"""Tiny ImageNet in its native layout, from a folder or straight from the zip."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cam_lightning.dataset.datamodule import LocalizationDataModule
from cam_lightning.dataset.image_file import decode
from cam_lightning.dataset.split import ImageSplit, RawImage
from cam_lightning.dataset.storage import Storage
from cam_lightning.functional.box import from_inclusive_corners

LAYOUT = (
    "expected wnids.txt, train/<wnid>/images/*.JPEG with train/<wnid>/<wnid>_boxes.txt, "
    "and val/images/*.JPEG with val/val_annotations.txt"
)


class TinyImageNet(LocalizationDataModule):
    """Photos of 64×64 with one box each; classes are sorted WordNet ids; the published `val` split is `test`.

    Corners in the files are inclusive pixel indices. Source: Tiny ImageNet of Stanford's CS231n. `root` is
    the folder that holds `wnids.txt`, or a zip of it.
    """

    def __init__(self, root: str, **common: Any) -> None:
        super().__init__(**common)
        self.root = root
        self.words: dict[str, str] = {}

    def read_splits(self) -> tuple[list[str], ImageSplit, ImageSplit]:
        storage = Storage(self.root)
        top = storage.names("")
        if not {"wnids.txt", "train", "val"} <= set(top):
            found = ", ".join(top[:10]) or "nothing"
            raise FileNotFoundError(
                f"dataset.root={storage.root} is not laid out as Tiny ImageNet: {LAYOUT}; found {found}. "
                "Fetch tiny-imagenet-200.zip from Stanford's CS231n and give its path; it need not be unpacked."
            )
        names = sorted(storage.read_lines("wnids.txt"))
        if "words.txt" in top:
            rows = (line.split("\t") for line in storage.read_lines("words.txt"))
            self.words = {row[0]: row[1].split(",")[0] for row in rows if len(row) > 1}
        train = [
            (f"train/{wnid}/images/{file}", label, box)
            for label, wnid in enumerate(names)
            for file, box in _boxes(storage, f"train/{wnid}/{wnid}_boxes.txt")
        ]
        label_of = {wnid: label for label, wnid in enumerate(names)}
        test = []
        for line in storage.read_lines("val/val_annotations.txt"):
            file, wnid, *corners = line.split("\t")
            if wnid in label_of:
                test.append((f"val/images/{file}", label_of[wnid], [int(corner) for corner in corners]))
        return names, TinySplit(storage, train), TinySplit(storage, test)

    def display_name(self, class_name: str) -> str:
        return self.words.get(class_name, class_name)


class TinySplit(ImageSplit):
    """Images of one split: path below the root, label, inclusive corners of the one box."""

    def __init__(self, storage: Storage, rows: list[tuple[str, int, list[int]]]) -> None:
        self.storage = storage
        self.ids = [path for path, _, _ in rows]
        self.label_N = np.array([label for _, label, _ in rows], dtype=np.int64)
        corners_N4 = torch.tensor([corners for _, _, corners in rows]).reshape(-1, 4)
        self.boxes_N4 = from_inclusive_corners(corners_N4).numpy()

    def read(self, index: int) -> RawImage:
        path = self.ids[index]
        return RawImage(
            decode(self.storage.read(path), self.storage.describe(path)), self.boxes_N4[index, None]
        )


def _boxes(storage: Storage, path: str) -> list[tuple[str, list[int]]]:
    rows = (line.split("\t") for line in storage.read_lines(path))
    return [(file, [int(corner) for corner in corners]) for file, *corners in rows]
