"""Tiny ImageNet in its native layout, from a folder or straight from the zip."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.image_file import decode
from cam_lightning.dataset.pipeline.split import Annotation, ImageSplit, RawImage, Splits
from cam_lightning.dataset.pipeline.storage import Storage
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

    SOURCE = "Fetch tiny-imagenet-200.zip of Stanford's CS231n and give its path; it need not be unpacked."

    def __init__(self, root: str, **common: Any) -> None:
        super().__init__(**common)
        self.root = root
        self.words: dict[str, str] = {}

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        top = storage.names("")
        if not {"wnids.txt", "train", "val"} <= set(top):
            found = ", ".join(top[:10]) or "nothing"
            raise FileNotFoundError(
                f"dataset.root={storage.root} is not laid out as Tiny ImageNet: {LAYOUT}; found {found}. {self.SOURCE}"
            )
        names = sorted(storage.read_lines("wnids.txt"))
        if "words.txt" in top:
            rows = (line.split("\t") for line in storage.read_lines("words.txt"))
            self.words = {row[0]: row[1].split(",")[0] for row in rows if len(row) > 1}
        train = [
            (f"train/{wnid}/images/{file}", label, box)
            for label, wnid in enumerate(names)
            for file, _, box in _rows(storage, f"train/{wnid}/{wnid}_boxes.txt")
        ]
        label_of = {wnid: label for label, wnid in enumerate(names)}
        test = [
            (f"val/images/{file}", label_of[wnid], box)
            for file, wnid, box in _rows(storage, "val/val_annotations.txt", has_class=True)
            if wnid in label_of
        ]
        _require_files(storage, [path for path, _, _ in (*train, *test)])
        return Splits(names, TinySplit(storage, train), TinySplit(storage, test))

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
        name, data = self.encoded(index)
        return RawImage(decode(data, name), self.boxes_N4[index, None])

    def encoded(self, index: int) -> tuple[str, bytes]:
        path = self.ids[index]
        return self.storage.describe(path), self.storage.read(path)

    def annotation(self, index: int) -> Annotation:
        return Annotation(self.boxes_N4[index, None])

    @property
    def num_boxes_N(self) -> np.ndarray:
        return np.ones(len(self), np.int64)


def _rows(storage: Storage, path: str, has_class: bool = False) -> list[tuple[str, str, list[int]]]:
    """File, class ("" where the rows have none) and inclusive corners of each row; raises ValueError."""
    rows = []
    for line in storage.read_lines(path):
        file, *rest = line.split("\t")
        wnid = rest.pop(0) if has_class and rest else ""
        try:
            x0, y0, x1, y1 = map(int, rest)
        except ValueError as error:
            columns = "file, class and four" if has_class else "file and four"
            raise ValueError(f"{storage.describe(path)}: expected {columns} numbers, got {line!r}") from error
        if not (0 <= x0 <= x1 and 0 <= y0 <= y1):
            raise ValueError(f"{storage.describe(path)}: a box ends before it starts in {line!r}")
        rows.append((file, wnid, [x0, y0, x1, y1]))
    return rows


def _require_files(storage: Storage, paths: list[str]) -> None:
    present = {
        f"{folder}/{name}" for folder in {path.rpartition("/")[0] for path in paths} for name in storage.names(folder)
    }
    missing = [path for path in paths if path not in present]
    if missing:
        raise FileNotFoundError(
            f"{storage.describe(missing[0])} does not exist, though a box is listed for it "
            f"({len(missing):,} of {len(paths):,} images are missing)"
        )
