"""OpenImages30k of the WSOL benchmark: 100 classes, masks of every instance, regions that are not scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cam_lightning.dataset.format.wsol_metadata import WsolMetadata, read_metadata
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.image_file import decode
from cam_lightning.dataset.pipeline.mask_file import read_grey
from cam_lightning.dataset.pipeline.split import Annotation, ImageSplit, RawImage, Splits
from cam_lightning.dataset.pipeline.storage import Storage

OBJECT, IGNORED = 1, 255


class OpenImages30k(LocalizationDataModule):
    """29,819 training images, 2,500 `train-fullsup`, 5,000 test images; scored by pixels (PxAP): there are no boxes.

    `root` holds `train`, `val` and `test` with a folder per class, named by its Freebase id without the `/m/`;
    `masks` holds the masks of `val` and `test` in the same folders, and is the root where it is not given;
    `metadata` is the benchmark's `metadata/OpenImages`. Classes are in the order of its labels.
    """

    SOURCE = (
        "Fetch OpenImages_images.zip and OpenImages_annotations.zip, which the project clovaai/wsolevaluation links "
        "(dataset/prepare_openimages.sh), unpacked into one folder, and its folder metadata/OpenImages."
    )

    def __init__(self, root: str, metadata: str, masks: str | None = None, proxy: bool = False, **common: Any) -> None:
        super().__init__(**common)
        self.root = root
        self.metadata = Path(metadata).expanduser().absolute()
        self.masks = masks
        self.proxy = proxy

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        masks = storage if self.masks is None else Storage(self.masks)
        found = storage.names("")
        if not {"train", "val", "test"} <= set(found):
            raise FileNotFoundError(
                f"dataset.root={storage.root} is not laid out as OpenImages30k: expected train, val and test with a "
                f"folder per class; found {', '.join(found[:10]) or 'nothing'}. {self.SOURCE}"
            )
        splits = {}
        for part in ("train", "val", "test"):
            index = read_metadata(self.metadata / part, proxy=self.proxy and part == "train")
            _require_files(storage, list(index.ids), self.SOURCE)
            if part != "train":
                _require_masks(index, self.metadata / part)
                _require_files(masks, [path for path in (*index.masks_M, *index.ignored_N) if path], self.SOURCE)
            splits[part] = MaskedSplit(storage, masks, index)
        return Splits(_names(splits["train"]), splits["train"], splits["test"], splits["val"])


class MaskedSplit(ImageSplit):
    """Images, and the masks of their instances: 1 in any of them, 255 where only the ignored regions are, else 0."""

    def __init__(self, storage: Storage, masks: Storage, index: WsolMetadata) -> None:
        self.storage = storage
        self.masks = masks
        self.index = index
        self.ids = index.ids
        self.label_N = index.label_N

    def encoded(self, index: int) -> tuple[str, bytes]:
        path = self.ids[index]
        return self.storage.describe(path), self.storage.read(path)

    def annotation(self, index: int) -> Annotation:
        return Annotation(np.zeros((0, 4), np.float32))

    def read(self, index: int) -> RawImage:
        name, data = self.encoded(index)
        image_HW3 = decode(data, name)
        first, end = self.index.first_row_N1[index : index + 2].tolist()
        instances = [self._mask(self.index.masks_M[row]) for row in range(first, end)]
        ignored = self.index.ignored_N[index] if len(self.index.ignored_N) else ""
        regions = [self._mask(ignored)] if ignored else []
        boxes_N4 = self.annotation(index).boxes_N4
        if not instances:
            return RawImage(image_HW3, boxes_N4)
        # All masks of an image have one size, which is not the image's; were they not, the largest keeps its pixels.
        height, width = max((mask.shape for mask in (*instances, *regions)), key=lambda shape: shape[0] * shape[1])
        mask_HW = np.zeros((height, width), np.uint8)
        for masks, value in ((regions, IGNORED), (instances, OBJECT)):
            for mask in masks:
                mask_HW[cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0] = value
        return RawImage(image_HW3, boxes_N4, mask_HW)

    def _mask(self, path: str) -> np.ndarray:
        return read_grey(self.masks, path)


def _names(split: MaskedSplit) -> list[str]:
    """The class of each label, as the folders name it; raises ValueError where labels and folders disagree."""
    folder_of: dict[int, str] = {}
    for path, label in zip(split.ids, split.label_N.tolist(), strict=True):
        folder = path.split("/")[-2] if path.count("/") else ""
        if folder_of.setdefault(label, folder) != folder:
            raise ValueError(f"the WSOL index gives the label {label} to {folder_of[label]!r} and to {path!r}")
    if sorted(folder_of) != list(range(len(folder_of))) or len(set(folder_of.values())) != len(folder_of):
        raise ValueError(f"the WSOL index gives {len(folder_of)} classes the labels {sorted(folder_of)}")
    return [folder_of[label] for label in range(len(folder_of))]


def _require_masks(index: WsolMetadata, folder: Path) -> None:
    """Raises ValueError where some images have masks and others none: a batch holds the masks of all of its images."""
    without = [path for path, count in zip(index.ids, np.diff(index.first_row_N1).tolist(), strict=True) if not count]
    if 0 < len(without) < len(index.ids):
        raise ValueError(
            f"{folder / 'localization.txt'} has no mask of {without[0]!r} ({len(without):,} of {len(index.ids):,} "
            "images have none)"
        )


def _require_files(storage: Storage, paths: list[str], source: str) -> None:
    folders = {path.rpartition("/")[0] for path in paths}
    present = {f"{folder}/{name}" for folder in folders for name in storage.names(folder)}
    missing = [path for path in paths if path not in present]
    if missing:
        raise FileNotFoundError(
            f"{storage.describe(missing[0])} does not exist, though the WSOL index lists it "
            f"({len(missing):,} of {len(paths):,} files are missing). {source}"
        )
