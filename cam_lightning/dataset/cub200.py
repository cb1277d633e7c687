"""CUB-200-2011 from its official files, with CUBV2 as `train-fullsup`; whole photos, or one box of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cam_lightning.dataset.format.crop import CroppedSplit, crops_of, read_crops
from cam_lightning.dataset.format.wsol_metadata import read_metadata
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row, require_annotated_sizes
from cam_lightning.dataset.pipeline.mask_file import read_grey
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage, Splits
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.functional.box import from_xywh

log = logging.getLogger(__name__)

FILES = ("images.txt", "train_test_split.txt", "image_class_labels.txt", "classes.txt", "bounding_boxes.txt", "images")
FOREGROUND = 128
"""Segmentations are grey: the share of the annotators who marked a pixel. Half of them make it the object."""
VIEWS = ("full", "bbox", "crop")


class Cub200(LocalizationDataModule):
    """200 bird species, one box each; classes are those of `classes.txt`, in its order (`001.…` is label 0).

    `root` is `CUB_200_2011`, or the folder that holds it. The file's boxes are `x y width height`: x1 is x + width,
    half-open. `segmentations` (true, or the folder) adds masks. `cubv2` is the folder of CUBV2's class folders,
    `metadata` the WSOL benchmark's `metadata/CUB` with its boxes: together they are `train-fullsup`; where `cubv2`
    is not given, its images may lie beside the others, as the benchmark unpacks them.

    `view` is what a network sees: `full` photos; `bbox`, the ground-truth box of each alone; `crop`, the box that
    an earlier run found (`crops`: `predictions.csv` files that name every image). `test_split=train` evaluates the
    training images, which is how such a run finds their boxes; with the views, that is the fine-grained experiment
    of Zhou et al. (Section 4.1). With `crop` and `bbox` fit validates on a held-out part.

    `resized` says that the photos are resized copies, with their ratio kept or all squashed to one square: boxes are
    scaled from the original sizes, which are in `metadata` alone, to each file's own.
    EXIF orientation is not applied: the boxes are in the pixels that the files store.
    """

    SOURCE = (
        "Fetch CUB_200_2011.tgz of the Caltech-UCSD Birds-200-2011 project (with segmentations.tgz for masks). "
        "train-fullsup needs CUBV2.tar and metadata/CUB of the project clovaai/wsolevaluation (dataset.cubv2, "
        "dataset.metadata)."
    )

    def __init__(
        self,
        root: str,
        metadata: str | None = None,
        cubv2: str | None = None,
        segmentations: bool | str = False,
        view: str = "full",
        crops: str | Sequence[str] = (),
        test_split: str = "test",
        proxy: bool = False,
        resized: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if view not in VIEWS:
            raise ValueError(f"dataset.view is one of {', '.join(VIEWS)}; got {view!r}")
        if (view == "crop") != bool(crops):
            raise ValueError("dataset.view=crop takes the boxes of dataset.crops (predictions.csv of an earlier run)")
        if test_split not in ("train", "test"):
            raise ValueError(f"dataset.test_split is train or test; got {test_split!r}")
        if (proxy or cubv2) and metadata is None:
            raise ValueError("dataset.proxy and dataset.cubv2 need the WSOL benchmark's index: give dataset.metadata")
        if resized and metadata is None:
            raise ValueError(
                "dataset.resized=true scales boxes by the original photos' sizes, which the official files lack and "
                "the WSOL benchmark's index has: give dataset.metadata"
            )
        self.root = root
        self.metadata = None if metadata is None else Path(metadata).expanduser().absolute()
        self.cubv2 = cubv2
        self.segmentations = segmentations
        self.view = view
        self.crops = [Path(path).expanduser() for path in ([crops] if isinstance(crops, str) else crops)]
        self.test_split = test_split
        self.proxy = proxy
        self.resized = resized

    def display_name(self, class_name: str) -> str:
        return class_name.partition(".")[2].replace("_", " ") or class_name

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        top = "" if "images.txt" in storage.names("") else "CUB_200_2011/"
        if not set(FILES) <= set(storage.names(top.rstrip("/"))):
            found = ", ".join(storage.names(top.rstrip("/"))[:10] or storage.names("")[:10]) or "nothing"
            raise FileNotFoundError(
                f"dataset.root={storage.root} is not laid out as CUB-200-2011: expected {', '.join(FILES)}; "
                f"found {found}. {self.SOURCE}"
            )
        names = list(_table(storage, f"{top}classes.txt").values())
        parts = _official(storage, top, len(names))
        if self.proxy:
            assert self.metadata is not None
            listed = set(read_metadata(self.metadata / "train", proxy=True).ids)
            parts["train"] = [row for row in parts["train"] if row.path.removeprefix(f"{top}images/") in listed]
        if self.resized:
            parts = {part: self._sized(rows, f"{top}images/") for part, rows in parts.items()}
        masks = self._masks(storage, top)
        birds = {part: BirdSplit(storage, Index.pack(rows), masks, self.resized) for part, rows in parts.items()}
        for split in birds.values():
            require_annotated_sizes(split)
        splits = {part: self._seen(split) for part, split in birds.items()}
        fullsup = self._fullsup(f"{top}images") if self.view == "full" else None
        return Splits(names, splits["train"], splits[self.test_split], fullsup)

    def _sized(self, rows: list[Row], images: str) -> list[Row]:
        """The rows with the original photos' sizes, which the benchmark's index has."""
        assert self.metadata is not None
        size_of: dict[str, tuple[int, int]] = {}
        for part in ("train", "test"):
            listed = read_metadata(self.metadata / part)
            if listed.size_N2 is not None:
                size_of |= {path: (h, w) for path, (h, w) in zip(listed.ids, listed.size_N2.tolist(), strict=True)}
        return [row._replace(size=size_of.get(row.path.removeprefix(images))) for row in rows]

    def _masks(self, storage: Storage, top: str) -> tuple[Storage, str] | None:
        """Where the segmentations are; None where none are asked for."""
        if isinstance(self.segmentations, str):
            return Storage(self.segmentations), ""
        if not self.segmentations:
            return None
        for folder in (f"{top}segmentations", "segmentations"):
            if storage.names(folder):
                return storage, f"{folder}/"
        raise FileNotFoundError(f"{storage.describe(f'{top}segmentations')} does not exist. {self.SOURCE}")

    def _seen(self, split: BirdSplit) -> ImageSplit:
        if self.view == "full":
            return split
        if self.view == "bbox":
            if not self.resized:
                return CroppedSplit(split, split.index.boxes_M4)
            # The boxes are known where every file's size is.
            boxes = [split.annotation(image).boxes_N4 for image in range(len(split))]
            return CroppedSplit(split, np.concatenate([*boxes, np.zeros((0, 4), np.float32)]))
        return CroppedSplit(split, crops_of(split, read_crops(self.crops), ", ".join(map(str, self.crops))))

    def _fullsup(self, images: str) -> IndexedSplit | None:
        if self.metadata is None or (self.cubv2 is None and not (self.metadata / "val").is_dir()):
            return None
        storage, prefix = (Storage(self.root), f"{images}/") if self.cubv2 is None else (Storage(self.cubv2), "")
        index = read_metadata(self.metadata / "val")
        folders = {path.rpartition("/")[0] for path in index.ids}
        present = {f"{folder}/{file}" for folder in folders for file in storage.names(prefix + folder)}
        missing = [path for path in index.ids if path not in present]
        if missing and len(missing) == len(index.ids) and self.cubv2 is None:
            log.warning("CUBV2's images are not there (dataset.cubv2): validation is on some of the training images")
            return None
        if missing:
            raise FileNotFoundError(
                f"{storage.describe(prefix + missing[0])} does not exist ({len(missing):,} of CUBV2's "
                f"{len(index.ids):,} images). {self.SOURCE}"
            )
        # CUBV2's boxes are corners in the convention of the benchmark's CUB files: x1 is outside, as x + width is.
        split = IndexedSplit(
            storage,
            Index.pack(
                Row(
                    prefix + path,
                    int(index.label_N[i]),
                    index.corners_M4[index.first_row_N1[i] : index.first_row_N1[i + 1]].astype(np.float32),
                    None if index.size_N2 is None else (int(index.size_N2[i, 0]), int(index.size_N2[i, 1])),
                )
                for i, path in enumerate(index.ids)
            ),
            self.resized,
        )
        require_annotated_sizes(split)
        return split


class BirdSplit(IndexedSplit):
    """Photos with their segmentations, where these are asked for."""

    def __init__(self, storage: Storage, index: Index, masks: tuple[Storage, str] | None, resized: bool) -> None:
        super().__init__(storage, index, resized)
        self.masks = masks

    def read(self, index: int) -> RawImage:
        image = super().read(index)
        if self.masks is None:
            return image
        storage, folder = self.masks
        path = f"{folder}{self.ids[index].rpartition('images/')[2].rpartition('.')[0]}.png"
        return image._replace(mask_HW=(read_grey(storage, path) >= FOREGROUND).astype(np.uint8))


def _official(storage: Storage, top: str, num_classes: int) -> dict[str, list[Row]]:
    """Training and test images of the official files, in the order of `images.txt`."""
    images = _table(storage, f"{top}images.txt")
    columns = [_table(storage, top + file) for file in FILES[1:3]] + [_table(storage, f"{top}{FILES[4]}")]
    for file, column in zip((FILES[1], FILES[2], FILES[4]), columns, strict=True):
        if column.keys() != images.keys():
            number = min(column.keys() ^ images.keys(), key=int)
            raise ValueError(f"{storage.describe(top + file)} and images.txt are not of the same images: see {number}")
    parts: dict[str, list[Row]] = {"train": [], "test": []}
    for number, path in images.items():
        is_train, label, box = (column[number] for column in columns)
        try:
            class_number, (x, y, width, height) = int(label), map(float, box.split())
            part = {"1": "train", "0": "test"}[is_train]
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{storage.describe(top)}: image {number} has the part {is_train!r}, class {label!r} and box {box!r}; "
                "expected 0 or 1, a number, and x y width height"
            ) from error
        if not (1 <= class_number <= num_classes and width > 0 and height > 0):
            raise ValueError(f"{storage.describe(top)}: image {number} has class {label} and box {box}")
        boxes_N4 = from_xywh(torch.tensor([[x, y, width, height]])).numpy()
        parts[part].append(Row(f"{top}images/{path}", class_number - 1, boxes_N4))
    return parts


def _table(storage: Storage, path: str) -> dict[str, str]:
    """Lines `number value`, by number; raises ValueError with the line where one is not such."""
    rows: dict[str, str] = {}
    for line_number, line in enumerate(storage.read_lines(path), start=1):
        number, _, value = line.strip().partition(" ")
        if not number.isdecimal() or not value or number in rows:
            raise ValueError(
                f"{storage.describe(path)}, line {line_number}: expected a new number and a value, got {line!r}"
            )
        rows[number] = value.strip()
    return rows
