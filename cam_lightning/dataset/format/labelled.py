"""What the readers of labelled photos without boxes share: class folders or lists, and the middle of each photo."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cam_lightning.dataset.format.crop import CentredSplit
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.image_file import is_image
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row
from cam_lightning.dataset.pipeline.option import seed, share, whole
from cam_lightning.dataset.pipeline.split import ImageSplit, Splits, draw_per_class
from cam_lightning.dataset.pipeline.storage import Storage


class Photo(NamedTuple):
    """One image, as a reader finds it."""

    path: str
    """Below the root, with `/`."""
    class_name: str


class LabelledPhotos(LocalizationDataModule):
    """Photos of one class each, no boxes: what generic features are tried on (section 4, Table 5).

    `centre` is the share of each side that is seen: the middle, which is then frame `original`, so that maps and boxes
    are of that part; 1 is the whole photo.
    """

    def __init__(self, root: str, centre: float = 1.0, **common: Any) -> None:
        super().__init__(**common)
        self.root = root
        self.centre = share("dataset.centre", centre, up_to_one=True)

    def seen(self, split: ImageSplit) -> ImageSplit:
        """A split as the network sees it."""
        return split if self.centre == 1 else CentredSplit(split, self.centre)

    def split_of(self, storage: Storage, photos: Iterable[Photo], names: Sequence[str]) -> IndexedSplit:
        """The images in the order given, labelled by the place of their class in `names`."""
        label_of = {name: label for label, name in enumerate(names)}
        return IndexedSplit(storage, Index.pack(Row(photo.path, label_of[photo.class_name]) for photo in photos))

    def not_laid_out(self, storage: Storage, expected: str) -> FileNotFoundError:
        """What to raise where the root holds something else."""
        found = ", ".join(storage.names("")[:10]) or "nothing"
        return FileNotFoundError(f"dataset.root={storage.root}: expected {expected}; found {found}. {self.SOURCE}")

    def top_of(self, storage: Storage, names: Sequence[str], folders: Sequence[str] = ()) -> str:
        """Where the data begin, as a prefix of paths: at the root, or in one of `folders` below it.

        That is where all of `names` are; raises FileNotFoundError where they are nowhere.
        """
        for folder in ("", *folders):
            if set(names) <= set(storage.names(folder)):
                return f"{folder}/" if folder else ""
        raise self.not_laid_out(storage, ", ".join(names))

    def require_files(self, storage: Storage, paths: Sequence[str], list_name: str) -> None:
        """Raises FileNotFoundError for listed images that are not there, ValueError for one that is listed twice."""
        folders = {path.rpartition("/")[0] for path in paths}
        present = {f"{folder}/{name}".lstrip("/") for folder in folders for name in storage.names(folder)}
        missing = [path for path in paths if path not in present]
        if missing:
            raise FileNotFoundError(
                f"{storage.describe(missing[0])} does not exist, though {list_name} lists it "
                f"({len(missing):,} of {len(paths):,} files are missing). {self.SOURCE}"
            )
        if len(set(paths)) < len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise ValueError(f"{storage.describe(twice)} is listed twice, in {list_name}")


class ListedPhotos(LabelledPhotos):
    """Photos whose training and test images the dataset's own lists name."""

    @abstractmethod
    def listed(self, storage: Storage) -> tuple[list[str], dict[str, list[Photo]]]:
        """The classes' names, and the photos of `train` and `test`; raises FileNotFoundError or ValueError."""

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        names, parts = self.listed(storage)
        both = [photo.path for photos in parts.values() for photo in photos]
        self.require_files(storage, both, "the lists of training and test images")
        train, test = (self.seen(self.split_of(storage, parts[part], names)) for part in ("train", "test"))
        return Splits(names, train, test)


class DrawnPhotos(LabelledPhotos):
    """Photos in class folders, without official lists: so many of each class to train, so many others to test.

    Which ones is drawn by the hash of (`split_seed`, the image's id). `test_per_class=null` tests on all others; where
    a class has too few, on those that there are.
    """

    DRAWN_BY = "split_seed"

    def __init__(
        self,
        train_per_class: int = 30,
        test_per_class: int | None = None,
        split_seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.train_per_class = whole("dataset.train_per_class", train_per_class, 1)
        self.test_per_class = None if test_per_class is None else whole("dataset.test_per_class", test_per_class, 1)
        self.split_seed = seed("dataset.split_seed", split_seed)

    @abstractmethod
    def photos(self, storage: Storage) -> list[Photo]:
        """All photos; raises FileNotFoundError or ValueError."""

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        return self.drawn(storage, self.photos(storage))

    def drawn(self, storage: Storage, photos: list[Photo]) -> Splits:
        """Splits of photos; raises ValueError where a class has no image left to test on."""
        names = sorted({photo.class_name for photo in photos})
        everything = self.seen(self.split_of(storage, photos, names))
        count_C = np.bincount(everything.label_N, minlength=len(names))
        few = [name for name, count in zip(names, count_C.tolist(), strict=True) if count <= self.train_per_class]
        if few:
            raise ValueError(
                f"{storage.root}: class {few[0]} has {count_C[names.index(few[0])]} images, so none is left to test on "
                f"beside dataset.train_per_class={self.train_per_class} ({len(few)} of {len(names)} classes)"
            )
        train, test = draw_per_class(everything, [self.train_per_class, self.test_per_class], self.split_seed)
        return Splits(names, train, test)


def in_class_folders(storage: Storage, top: str, leave_out: Sequence[str] = ()) -> list[Photo]:
    """Every image that lies directly in a folder below `top`, which is its class; what else lies there is no image."""
    return [
        Photo(f"{top}{folder}/{file}", folder)
        for folder in storage.names(top.rstrip("/"))
        if folder not in leave_out
        for file in storage.names(f"{top}{folder}")
        if is_image(file)
    ]
