"""ILSVRC's validation images: their labels from every source that is there, their boxes from one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from cam_lightning.dataset.format.clsloc_files import image_number
from cam_lightning.dataset.format.ilsvrc_devkit import Devkit
from cam_lightning.dataset.format.ilsvrc_photos import test_photos
from cam_lightning.dataset.format.voc import VocAnnotation, read_voc
from cam_lightning.dataset.format.wsol_metadata import FILES, WsolMetadata, read_metadata
from cam_lightning.dataset.imagenet import imagenet_classes
from cam_lightning.dataset.pipeline.index import Row
from cam_lightning.dataset.pipeline.index_cache import NotedStorage, Stamps
from cam_lightning.functional.box import from_inclusive_corners

XML = (
    "Annotations/CLS-LOC/val",
    "ILSVRC/Annotations/CLS-LOC/val",
    "ILSVRC2012_bbox_val_v3/val",
    "bbox/val",
    "bbox_val",
)


class Validation:
    """The validation images below one folder, flat or in class folders, in the order of their paths.

    With `train`, folders of class folders, an archive that was shuffled anew is seen through: of all folders the
    photos with official names. `metadata` is the WSOL benchmark's folder of ILSVRC, or None; `annotations` the folder
    of XML files, or None where it is one that the layouts have.
    """

    def __init__(
        self,
        storage: NotedStorage,
        folder: str,
        seen: Stamps,
        metadata: Path | None,
        annotations: Path | None,
        train: tuple[str, ...] = (),
    ) -> None:
        self.storage = storage
        self.folder = folder
        self.seen = seen
        self.annotations_folder = annotations
        self.paths = test_photos(storage, train, folder)
        self.classes: list[str] = []
        """The WordNet id of each image."""
        self.metadata = metadata
        self.index = None if metadata is None else _noted_metadata(metadata / "test", seen)
        names: Sequence[str] = () if self.index is None else self.index.ids
        self.position = {PurePosixPath(name).name: i for i, name in enumerate(names)}
        """Where each file is in the benchmark's index."""

    def read_labels(self, devkit: Devkit | None) -> None:
        """Takes labels from class folders, devkit and metadata; XML is asked where they say nothing.

        Raises ValueError where two sources disagree: one of them then counts classes in another order, or is of
        other images.
        """
        sources: dict[str, list[str | None]] = {}
        parents = [PurePosixPath(path).parent.name for path in self.paths]
        sources["its folder"] = [parent if re.fullmatch(r"n\d{8}", parent) else None for parent in parents]
        if devkit is not None:
            truth = devkit.validation_classes()
            numbers = [image_number(path) or 0 for path in self.paths]
            sources[str(devkit.truth)] = [truth[n - 1] if 0 < n <= len(truth) else None for n in numbers]
        if self.index is not None:
            listed = [self.position.get(PurePosixPath(path).name) for path in self.paths]
            labels = self.index.label_N
            sources[f"{self.metadata}/test"] = [None if i is None else _class(int(labels[i])) for i in listed]
        if not any(None not in labels for labels in sources.values()):
            sources["the XML"] = [annotation and _only_name(annotation) for annotation in self._annotations]
        self.classes = self._agreed(sources)

    def rows(self, names: list[str]) -> list[Row]:
        """The images of the classes `names`, with boxes of the benchmark's index, else of XML, else without."""
        label_of = {wnid: label for label, wnid in enumerate(names)}
        kept = [i for i, wnid in enumerate(self.classes) if wnid in label_of]
        if self.index is not None:
            listed = [self.position.get(PurePosixPath(path).name, -1) for path in self.paths]
            self._require_all([self.paths[i] for i in kept if listed[i] < 0], f"{self.metadata}/test")
            return [Row(self.paths[i], label_of[self.classes[i]], *wsol_boxes(self.index, listed[i])) for i in kept]
        found = self._annotations
        if any(found):
            self._require_all([self.paths[i] for i in kept if found[i] is None], "the folder of XML files")
        return [self._row(i, label_of[self.classes[i]], found[i]) for i in kept]

    def _row(self, image: int, label: int, annotation: VocAnnotation | None) -> Row:
        if annotation is None:
            return Row(self.paths[image], label)
        own = [name == self.classes[image] for name in annotation.names]
        if not any(own):
            objects = ", ".join(sorted(set(annotation.names))) or "nothing"
            raise ValueError(
                f"{self.storage.describe(self.paths[image])} is {self.classes[image]}, but its XML has only objects "
                f"of {objects}: one of the two is of another image, or counts classes in another order"
            )
        size = (annotation.height, annotation.width) if annotation.height else None
        return Row(self.paths[image], label, annotation.boxes_N4[own], size)

    @cached_property
    def _annotations(self) -> list[VocAnnotation | None]:
        """The XML of each image, None for all where there is no folder of such files."""
        given = self.annotations_folder
        if given is not None:
            storage, folders = NotedStorage(given, self.seen), ["", "val"]
        else:
            storage, folders = self.storage, [*XML, self.folder]
        for folder in folders:
            files = {file for file in storage.names(folder) if file.endswith(".xml")}
            if files:
                break
        else:
            if given is not None:
                raise FileNotFoundError(f"dataset.annotations={given} holds no XML files")
            return [None] * len(self.paths)
        found: list[VocAnnotation | None] = []
        for path in self.paths:
            file = PurePosixPath(path).stem + ".xml"
            where = f"{folder}/{file}" if folder else file
            found.append(read_voc(storage.read(where), storage.describe(where)) if file in files else None)
        return found

    def _agreed(self, sources: dict[str, list[str | None]]) -> list[str]:
        classes, differing, unknown = [], [], []
        for i, path in enumerate(self.paths):
            given = {source: labels[i] for source, labels in sources.items() if labels[i] is not None}
            if len(set(given.values())) > 1:
                differing.append(f"{path} is " + ", but ".join(f"{wnid} by {source}" for source, wnid in given.items()))
            elif not given:
                unknown.append(path)
            classes.append(next(iter(given.values()), None) or "")
        if differing:
            raise ValueError(
                f"{self.storage.root}: {differing[0]} ({len(differing):,} of {len(self.paths):,} images). One of them "
                "counts the classes in another order, or belongs to other images"
            )
        self._require_all(
            unknown, "any list of labels: class folders, a devkit (dataset.devkit) or the WSOL index (dataset.metadata)"
        )
        return classes

    def _require_all(self, missing: list[str], where: str) -> None:
        if missing:
            count = f"{len(missing):,} of {len(self.paths):,} images"
            raise ValueError(f"{self.storage.describe(missing[0])} ({count}) is not in {where}")


def imagenetv2_rows(storage: NotedStorage, folder: str, metadata: Path, names: list[str], seen: Stamps) -> list[Row]:
    """ImageNetV2 in its folders 0 … 999, which count sorted WordNet ids, with the benchmark's boxes.

    The benchmark numbers the files of each folder; `mapping.txt` beside its index gives the names that they are
    published under. Raises FileNotFoundError where images are missing.
    """
    index = _noted_metadata(metadata, seen)
    mapping = seen.note(metadata / "mapping.txt")
    published: dict[str, str] = {}
    if mapping.is_file():
        lines = mapping.read_text(encoding="utf-8").splitlines()
        published = {name.strip(): file.strip() for name, _, file in (line.partition(",") for line in lines)}
    label_of = {wnid: label for label, wnid in enumerate(names)}
    rows, missing = [], []
    prefix = f"{folder}/" if folder else ""
    present = {f"{number}/{file}" for number in storage.names(folder) for file in storage.names(prefix + number)}
    for i, identity in enumerate(index.ids):
        wnid = _class(int(index.label_N[i]))
        if wnid in label_of:
            path = "/".join(identity.split("/")[-2:])
            path = path if path in present else published.get(path, path)
            if path in present:
                rows.append(Row(prefix + path, label_of[wnid], *wsol_boxes(index, i)))
            else:
                missing.append(path)
    if missing:
        raise FileNotFoundError(
            f"{storage.describe(prefix + missing[0])} does not exist ({len(missing):,} of the {len(index.ids):,} "
            f"images in {metadata}). Fetch imagenetv2-threshold0.7 of the project modestyachts/ImageNetV2"
        )
    return rows


def wsol_boxes(index: WsolMetadata, image: int) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Boxes and size of one image of the benchmark's ILSVRC index, whose corners are pixels inside the box."""
    first, end = index.first_row_N1[image : image + 2].tolist()
    boxes_N4 = from_inclusive_corners(torch.from_numpy(index.corners_M4[first:end])).numpy()
    if index.size_N2 is None:
        return boxes_N4, None
    height, width = index.size_N2[image].tolist()
    return boxes_N4, (height, width)


def _noted_metadata(folder: Path, seen: Stamps) -> WsolMetadata:
    for file in FILES[:4]:
        seen.note(folder / file)
    return read_metadata(folder)


def _class(label: int) -> str:
    """The WordNet id of a label of the benchmark."""
    classes = imagenet_classes()
    if label >= len(classes):
        raise ValueError(f"the WSOL index has the label {label}; ILSVRC's are 0 to {len(classes) - 1}")
    return classes[label]


def _only_name(annotation: VocAnnotation) -> str | None:
    """The class of the objects, where they are all of one."""
    names = set(annotation.names)
    return names.pop() if len(names) == 1 else None
