"""Pascal VOC, 2007 to 2012, in its official layout: images that show several classes, with every object boxed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cam_lightning.dataset.format.folder_annotations import box_faults
from cam_lightning.dataset.format.voc import read_voc
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row, require_annotated_sizes
from cam_lightning.dataset.pipeline.split import Finding, RawImage, Splits
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.dataset.pipeline.strings import PackedStrings

log = logging.getLogger(__name__)

FOLDERS = ("Annotations", "ImageSets", "JPEGImages")
FIRST_PIXEL = 1
"""Corners in the files count pixels from 1, both corners inside the box."""


class VocImage(NamedTuple):
    """One image and what its annotation says."""

    id: str
    size: tuple[int, int] | None
    """Height and width; None where the annotation gives none."""
    boxes_of: dict[str, np.ndarray]
    """float32 (N, 4) by class: the objects that count."""
    unsure: set[str]
    """Classes of which there are difficult objects alone."""


class PascalVoc(LocalizationDataModule):
    """Photos with all objects of (officially twenty) classes boxed; classes are the objects' names, sorted.

    `root` is a folder such as `VOC2007`, one that holds it alone (`VOCdevkit`), or a zip of either: `JPEGImages`,
    `Annotations`, and the lists of images `ImageSets/Main/*.txt`. `test_list` is by default `test` where there is an
    annotation of its first image, else `val`; `train_list` is by default `train` beside `val`, else `trainval`, and
    without that list the data can be evaluated only.

    In training an image is there once, with all classes that it shows; its label, which is all that a method of one
    label could learn, is the first of them, and decides which images are held out. In evaluation it is there once for
    each class that it shows, as `2007_000027/person`, with the boxes of that class.

    Objects marked difficult are left out, as the challenge does: their boxes, and, where an image has no other object
    of a class, the class, which then neither holds nor does not (0 in the official `CLASS_*.txt`). An image of such
    classes alone stays, with the first of them as its label and no box. `difficult=true` counts them all. Corners in
    the files are inclusive and count from 1. Source: Everingham et al. 2010. EXIF orientation is not applied.
    """

    SOURCE = (
        "Fetch VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar, or VOCtrainval_11-May-2012.tar, of the Pascal "
        "VOC challenges, and unpack them into one folder."
    )

    def __init__(
        self,
        root: str,
        train_list: str | None = None,
        test_list: str | None = None,
        difficult: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if not isinstance(difficult, bool):
            raise ValueError(f"dataset.difficult is true or false; got {difficult!r:.80}")
        self.root = root
        self.train_list = train_list
        self.test_list = test_list
        self.difficult = difficult
        self._findings: list[Finding] = []

    def findings(self) -> list[Finding]:
        return self._findings

    def read_splits(self) -> Splits:
        self._findings = []
        storage = Storage(self.root)
        top = self._top(storage)
        lists = self._lists(storage, top)
        files = {f"{folder}/{name}" for folder in FOLDERS[::2] for name in storage.names(f"{top}{folder}")}
        found = {name: list(self._images(storage, top, name, files)) for name in lists if name is not None}
        train, test = (None if name is None else found[name] for name in lists)
        assert test is not None
        twice = {image.id for image in train or ()} & {image.id for image in test}
        if twice:
            raise ValueError(
                f"{storage.describe(top)}: {len(twice):,} images are in both dataset.train_list={lists[0]} and "
                f"dataset.test_list={lists[1]}, such as {min(twice)}"
            )
        images = [image for part in found.values() for image in part]
        names = sorted({name for image in images for name in (*image.boxes_of, *image.unsure)})
        return Splits(
            names,
            None if train is None else VocSplit(storage, top, train, names),
            VocSplit(storage, top, test, names),
        )

    def _top(self, storage: Storage) -> str:
        """Where the data begin, as a prefix of paths."""
        below = [name for name in storage.names("") if set(FOLDERS) <= set(storage.names(name))]
        if set(FOLDERS) <= set(storage.names("")):
            return ""
        if len(below) > 1:
            raise ValueError(
                f"dataset.root={storage.root} holds {', '.join(below)}: name one of them, "
                f"dataset.root={storage.root}/{below[0]}"
            )
        if not below:
            found = ", ".join(storage.names("")[:10]) or "nothing"
            raise FileNotFoundError(
                f"dataset.root={storage.root} is not laid out as Pascal VOC: expected {', '.join(FOLDERS)}; found "
                f"{found}. {self.SOURCE}"
            )
        return f"{below[0]}/"

    def _lists(self, storage: Storage, top: str) -> tuple[str | None, str]:
        """The names of the training and the test list."""
        there = [name[:-4] for name in storage.names(f"{top}ImageSets/Main") if name.endswith(".txt")]
        test = self.test_list
        if test is None:
            first = _ids(storage, top, "test")[:1] if "test" in there else []
            annotated = bool(first) and f"{first[0]}.xml" in storage.names(f"{top}Annotations")
            test = "test" if annotated else "val"
        train = self.train_list or ("train" if test == "val" else "trainval")
        if self.train_list is None and train not in there:
            log.warning("dataset.root=%s has no training images: it can be evaluated only", storage.root)
            return None, test
        return train, test

    def _images(self, storage: Storage, top: str, name: str, files: set[str]) -> Iterator[VocImage]:
        """The images of a list; those without any object are left out, with a remark."""
        listed = storage.describe(f"{top}ImageSets/Main/{name}.txt")
        without = []
        for image_id in _ids(storage, top, name):
            for file in (f"Annotations/{image_id}.xml", f"JPEGImages/{image_id}.jpg"):
                if file not in files:
                    raise FileNotFoundError(
                        f"{storage.describe(top + file)} does not exist, though {listed} lists it. {self.SOURCE}"
                    )
            path = f"{top}Annotations/{image_id}.xml"
            voc = read_voc(storage.read(path), storage.describe(path), FIRST_PIXEL)
            counts_N = np.array([self.difficult or not difficult for difficult in voc.difficult_N], bool)
            of_class = {each: np.array([name == each for name in voc.names], bool) for each in sorted(set(voc.names))}
            if not of_class:
                without.append(image_id)
                continue
            yield VocImage(
                image_id,
                (voc.height, voc.width) if voc.height else None,
                {each: voc.boxes_N4[is_N & counts_N] for each, is_N in of_class.items() if (is_N & counts_N).any()},
                {each for each, is_N in of_class.items() if not (is_N & counts_N).any()},
            )
        if without:
            what = f"{len(without):,} images of {listed} have no object and are left out, such as {without[0]}"
            self._findings.append(Finding("no object", what, False))
            log.warning("%s", what)


class VocSplit(IndexedSplit):
    """Each image once for every class that it shows: what `ImageSplit.image_N` describes."""

    def __init__(self, storage: Storage, top: str, images: Sequence[VocImage], names: Sequence[str]) -> None:
        label_of = {name: label for label, name in enumerate(names)}
        nothing_N4 = np.zeros((0, 4), np.float32)
        entries = [
            (number, name)
            for number, image in enumerate(images)
            for name in sorted(image.boxes_of) or sorted(image.unsure)[:1]
        ]
        rows = (
            Row(
                f"{top}JPEGImages/{images[number].id}.jpg",
                label_of[name],
                images[number].boxes_of.get(name, nothing_N4),
                images[number].size,
            )
            for number, name in entries
        )
        super().__init__(storage, Index.pack(rows))
        # Each is compared again when it is read.
        require_annotated_sizes(IndexedSplit(storage, self.index), sample=8)
        self.ids = PackedStrings.pack(f"{images[number].id}/{name}" for number, name in entries)
        self.image_N = np.array([number for number, _ in entries], np.int64)
        target_NC = np.zeros((len(images), len(names)), np.float32)
        for number, image in enumerate(images):
            target_NC[number, [label_of[name] for name in image.boxes_of]] = 1
            target_NC[number, [label_of[name] for name in image.unsure]] = np.nan
        self.target_NC = target_NC[self.image_N]

    def read(self, index: int) -> RawImage:
        image = super().read(index)
        height, width = image.image_HW3.shape[:2]
        annotated = self.annotation(index).size
        if annotated not in (None, (height, width)):
            assert annotated is not None
            raise OSError(f"{self.place(index)} is {width}×{height}, its annotation says {annotated[1]}×{annotated[0]}")
        if faults := box_faults(image.boxes_N4, (height, width)):
            raise OSError(f"{self.place(index)}: {faults[0]}")
        return image


def _ids(storage: Storage, top: str, name: str) -> list[str]:
    """The images of a list, in its order; raises ValueError for one that is there twice, or none."""
    path = f"{top}ImageSets/Main/{name}.txt"
    ids = [line.strip() for line in storage.read_lines(path)]
    if not ids:
        raise ValueError(f"{storage.describe(path)} lists no image")
    if len(set(ids)) < len(ids):
        twice = next(image_id for number, image_id in enumerate(ids) if image_id in ids[:number])
        raise ValueError(f"{storage.describe(path)}: {twice!r} is there twice")
    return ids
