"""ILSVRC 2012 (ImageNet-1k) as people have it on disk; classes are sorted WordNet ids, whatever numbers a file uses."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cam_lightning.dataset.format.clsloc_files import image_number
from cam_lightning.dataset.format.ilsvrc_devkit import Devkit, blacklisted
from cam_lightning.dataset.format.ilsvrc_photos import (
    class_folders,
    is_official,
    training_folders,
)
from cam_lightning.dataset.format.ilsvrc_validation import Validation, imagenetv2_rows
from cam_lightning.dataset.format.wsol_metadata import read_metadata
from cam_lightning.dataset.imagenet import imagenet_classes, imagenet_names
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.image_file import is_image
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row, require_annotated_sizes
from cam_lightning.dataset.pipeline.index_cache import NotedStorage, Stamps, cached_index
from cam_lightning.dataset.pipeline.split import Splits
from cam_lightning.dataset.pipeline.storage import Storage

log = logging.getLogger(__name__)

TRAIN = ("train", "ILSVRC2012_img_train", "Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/train")
VALIDATION = ("val", "ILSVRC2012_img_val", "Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val", "val.X")
OFFICIAL_IMAGES = 50_000
"""In the validation set, which blacklists number, whichever of them are there."""
PART = re.compile(r"train\.X\d+")
"""Folders that share the classes, as Kaggle's ImageNet-100 has them."""


class Ilsvrc(LocalizationDataModule):
    """Photos of 1,000 classes, or of those whose folders are there; the published validation set is `test`.

    `root` holds `train/<WordNet id>/*.JPEG` and `val`, flat or sorted into such folders, or the layout
    `ILSVRC/{Data,Annotations,ImageSets}/CLS-LOC`; without training images it can be evaluated only. The labels of
    the validation images come from every source that is there: class folders, `devkit`, `metadata`, XML. They
    must agree. Boxes come from `metadata` (the WSOL benchmark's `metadata/ILSVRC`), else from XML (`annotations`,
    or where the layouts have it); both have inclusive corners, so 1 is added to x1 and y1. `train-fullsup` is
    ImageNetV2 (`imagenetv2`, or `val2` in the root) with the boxes of `metadata`. `blacklist` leaves images out
    of `test` altogether: true for the devkit's list, or a file. `proxy` trains on the benchmark's short list.

    A subset of the classes reads as it lies, from a folder or a zip, also in folders that share the classes
    (`train.X1` …, `val.X`). Where both folders are sorted, photos named
    `ILSVRC2012_val_*` are `test` wherever they lie and all others train: so Imagenette and Imagewoof, whose second
    versions are shuffled anew, have official boxes too. `resized` says that the photos are resized copies, with their
    ratio kept or all squashed to one square: the boxes are scaled from the annotated size to each file's own.
    EXIF orientation is not applied: the boxes are in the pixels that the files store.
    """

    SOURCE = (
        "Fetch from image-net.org (with an account): ILSVRC2012_img_train.tar, each class unpacked into "
        "train/<WordNet id>/; ILSVRC2012_img_val.tar into val/; ILSVRC2012_devkit_t12.tar.gz (labels); "
        "ILSVRC2012_bbox_val_v3.tgz (boxes); or Kaggle's ILSVRC archive, which holds all but the devkit. The WSOL "
        "benchmark's index (dataset.metadata) is metadata/ILSVRC of the project clovaai/wsolevaluation; its "
        "train-fullsup images are imagenetv2-threshold0.7 of the project modestyachts/ImageNetV2, as val2/. Subsets "
        "with some of the official photos need no account: imagenette2.tgz of the project fastai/imagenette."
    )

    def __init__(
        self,
        root: str,
        metadata: str | None = None,
        devkit: str | None = None,
        annotations: str | None = None,
        imagenetv2: str | None = None,
        blacklist: bool | str = False,
        proxy: bool = False,
        resized: bool = False,
        cache: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if proxy and metadata is None:
            raise ValueError("dataset.proxy=true takes its list from the WSOL benchmark's index: give dataset.metadata")
        if imagenetv2 is not None and metadata is None:
            raise ValueError("the boxes of dataset.imagenetv2 are in the WSOL benchmark's index: give dataset.metadata")
        # All absolute: the kept index goes by them, and would else be another tree's in another working directory.
        self.root = str(Path(root).expanduser().absolute())
        self.metadata, self.devkit, self.annotations, self.imagenetv2 = (
            None if path is None else Path(path).expanduser().absolute()
            for path in (metadata, devkit, annotations, imagenetv2)
        )
        self.blacklist = blacklist
        self.proxy = proxy
        self.resized = resized
        self.cache = cache

    def display_name(self, class_name: str) -> str:
        return imagenet_names().get(class_name, class_name)

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        train, validation = _training(storage), _first(storage, VALIDATION)
        if validation is None:
            raise FileNotFoundError(
                f"dataset.root={storage.root} is not laid out as ILSVRC: expected the validation images in one of "
                f"{', '.join(VALIDATION)}; found {', '.join(storage.names('')[:10]) or 'nothing'}. {self.SOURCE}"
            )
        classes_from = train or ((validation,) if class_folders(storage, validation) else ())
        names = sorted({wnid for folder in classes_from for wnid in _class_folders(storage, folder)})
        names = names or imagenet_classes()
        left_out = sorted(set(class_folders(storage, validation)) - set(names))
        if left_out:
            log.warning(
                "data: %d classes of %s have no folder in %s, so their photos are left out: %s",
                len(left_out),
                storage.describe(validation),
                ", ".join(train),
                ", ".join(left_out[:10]) + ", …" * (len(left_out) > 10),
            )
        options = (self.root, self.metadata, self.devkit, self.annotations, self.blacklist)

        def index_test(seen: Stamps) -> Index:
            return Index.pack(self._test_rows(NotedStorage(self.root, seen), (train, validation), names, seen))

        key = [options, train, validation, names]
        test = IndexedSplit(storage, cached_index(self.cache, "ilsvrc-test", key, index_test), self.resized)
        require_annotated_sizes(test)
        return Splits(names, self._train(storage, train, validation, names), test, self._fullsup(storage, names))

    def _train(
        self, storage: Storage, train: tuple[str, ...], validation: str, names: list[str]
    ) -> IndexedSplit | None:
        """The training images of the classes `names`, from the kept index where nothing changed."""
        if not train:
            log.warning("dataset.root=%s has no training images: it can be evaluated only", storage.root)
            return None

        def index(seen: Stamps) -> Index:
            noted = NotedStorage(self.root, seen)
            rows = _rows(noted, train, validation, names)
            return Index.pack(self._proxy_rows(rows, noted.describe(train[0]), names, seen) if self.proxy else rows)

        key = [self.root, train, validation, names, self.proxy, self.metadata]
        return IndexedSplit(storage, cached_index(self.cache, "ilsvrc-train", key, index))

    def _proxy_rows(self, rows: Iterator[Row], where: str, names: list[str], seen: Stamps) -> Iterator[Row]:
        """The images of the benchmark's short list, in the order of the folders."""
        assert self.metadata is not None
        seen.note(self.metadata / "train" / "image_ids_proxy.txt")
        listed = {"/".join(path.split("/")[-2:]) for path in read_metadata(self.metadata / "train", proxy=True).ids}
        present = 0
        for row in rows:
            if "/".join(row.path.split("/")[-2:]) in listed:
                present += 1
                yield row
        wanted = sum(path.split("/")[0] in names for path in listed)
        if present != wanted:
            raise FileNotFoundError(
                f"{where} has {present:,} of the {wanted:,} images that "
                f"{self.metadata / 'train' / 'image_ids_proxy.txt'} lists of these classes"
            )

    def _test_rows(
        self, storage: NotedStorage, folders: tuple[tuple[str, ...], str], names: list[str], seen: Stamps
    ) -> list[Row]:
        train, folder = folders
        devkit = self._devkit(storage, seen)
        validation = Validation(storage, folder, seen, self.metadata, self.annotations, train)
        validation.read_labels(devkit)
        rows = validation.rows(names)
        if self.blacklist:
            most = max([OFFICIAL_IMAGES, *(image_number(path) or 0 for path in validation.paths)])
            if isinstance(self.blacklist, str):
                bad = blacklisted(seen.note(Path(self.blacklist).expanduser().absolute()), most)
            elif devkit is None:
                raise FileNotFoundError("dataset.blacklist=true is the devkit's list: give dataset.devkit, or a file")
            else:
                bad = devkit.blacklist(most)
            kept = [row for row in rows if image_number(row.path) not in bad]
            log.info("dataset.blacklist leaves %d images out of the test split", len(rows) - len(kept))
            rows = kept
        return rows

    def _devkit(self, storage: Storage, seen: Stamps) -> Devkit | None:
        """The kit that is given, or a folder of the root with `devkit` in its name."""
        if self.devkit is not None:
            return Devkit(self.devkit, seen)
        tops = [name for name in storage.names("") if "devkit" in name.lower() and (storage.root / name).is_dir()]
        return Devkit(storage.root / tops[0], seen) if tops else None

    def _fullsup(self, storage: Storage, names: list[str]) -> IndexedSplit | None:
        if self.imagenetv2 is None and (self.metadata is None or not storage.names("val2")):
            return None
        assert self.metadata is not None
        # One place below `val2` of the root, or below the folder given.
        root, folder = (self.root, "val2") if self.imagenetv2 is None else (self.imagenetv2, "")
        metadata = self.metadata

        def index(seen: Stamps) -> Index:
            return Index.pack(imagenetv2_rows(NotedStorage(root, seen), folder, metadata / "val", names, seen))

        images = Storage(root)
        key = [root, folder, metadata, names]
        split = IndexedSplit(images, cached_index(self.cache, "ilsvrc-fullsup", key, index), self.resized)
        require_annotated_sizes(split)
        return split


def _first(storage: Storage, folders: tuple[str, ...]) -> str | None:
    return next((folder for folder in folders if storage.names(folder)), None)


def _training(storage: Storage) -> tuple[str, ...]:
    """The folder of the training images, or all that share them; none where there are no such images."""
    folder = _first(storage, TRAIN)
    return (folder,) if folder else tuple(name for name in storage.names("") if PART.fullmatch(name))


def _class_folders(storage: Storage, folder: str) -> list[str]:
    """Sorted WordNet ids of the class folders; raises ValueError where they are not ILSVRC's."""
    entries, names = storage.names(folder), class_folders(storage, folder)
    packed = [name for name in entries if name.endswith(".tar") and name[:-4] not in names]
    if packed:
        raise ValueError(
            f"{storage.describe(folder)}/{packed[0]} and {len(packed) - 1} more are still packed: unpack each"
        )
    if not names:
        raise FileNotFoundError(f"{storage.describe(folder)} has no folder named by a WordNet id, such as n01440764")
    unknown = sorted(set(names) - set(imagenet_classes()))
    if unknown:
        raise ValueError(
            f"{storage.describe(folder)} has {len(unknown)} folders that are not classes of ILSVRC 2012: "
            f"{', '.join(unknown[:10])}. For classes of your own use dataset=folder"
        )
    return names


def _rows(storage: Storage, train: tuple[str, ...], validation: str, names: list[str]) -> Iterator[Row]:
    """Every training image, class by class; raises ValueError where a list of them says that some are missing."""
    folder = train[0]
    listed = _listed(storage, folder)
    folders = training_folders(storage, train, validation)
    for label, wnid in enumerate(names):
        files = [file for file in storage.names(f"{folder}/{wnid}") if is_image(file)]
        if len(files) < listed.get(wnid, 0):
            raise ValueError(
                f"{storage.describe(folder)}/{wnid} has {len(files):,} images, but ImageSets/CLS-LOC/train_cls.txt "
                f"lists {listed[wnid]:,}: unpack it again, or remove the list where you left some out on purpose"
            )
        for place in folders:
            for file in storage.names(f"{place}/{wnid}"):
                if is_image(file) and not is_official(file):
                    yield Row(f"{place}/{wnid}/{file}", label)


def _listed(storage: Storage, folder: str) -> dict[str, int]:
    """How many images of each class `ImageSets` lists; empty where the layout has no such list."""
    sets = folder.replace("Data/CLS-LOC/train", "ImageSets/CLS-LOC")
    counts: dict[str, int] = {}
    if sets != folder and "train_cls.txt" in storage.names(sets):
        for line in storage.read(f"{sets}/train_cls.txt").split():
            wnid, _, image = line.decode().partition("/")
            if image:
                counts[wnid] = counts.get(wnid, 0) + 1
    return counts
