"""One split of a dataset: ids, labels, how to read one image; and the subsets that experiments train on."""

from __future__ import annotations

import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cam_lightning.dataset.pipeline.strings import SelectedStrings, terminated


class RawImage(NamedTuple):
    """One image as its file has it."""

    image_HW3: np.ndarray
    """uint8 RGB."""
    boxes_N4: np.ndarray
    """float32 ground-truth boxes, xyxy half-open, frame `original`; no row where none is known."""
    mask_HW: np.ndarray | None = None
    """uint8: 1 object, 0 background, 255 ignored; None where the dataset has no masks. Of the whole image, and not
    always of its size: those of OpenImages are smaller or larger."""


class Annotation(NamedTuple):
    """What is written down of one image, known without decoding it."""

    boxes_N4: np.ndarray
    """As in `RawImage`."""
    size: tuple[int, int] | None = None
    """The height and width that the annotation gives; None where it gives none."""


class Finding(NamedTuple):
    """Something that is to be known of a dataset."""

    kind: str
    """What sort of thing, in a few words."""
    what: str
    """One line that names the file or the class."""
    is_wrong: bool
    """True where training or evaluation would be wrong; False for a remark."""


class ImageSplit(ABC):
    """Images by position. A dataset's own file holds only how its ids, labels, boxes and pixels are read."""

    ids: Sequence[str]
    label_N: np.ndarray
    """int64, one per image."""
    target_NC: np.ndarray | None = None
    """float32, where images have several labels at once: 1 holds, 0 does not, NaN is not known; `label_N` is then one
    that holds best. None where every image has the one label."""
    image_N: np.ndarray | None = None
    """int64, where an image stands here once for each class that it shows, as `label_N`, with the boxes of that class:
    which image each entry is of. Entries of one image stand together, the first class first. None: one of each."""
    exif: str = "stored"
    """What the pixels are, of photos that EXIF turns: `stored` as in the file, `upright`, or `auto`: stored, and it
    is not known whether boxes were drawn on them so."""

    @abstractmethod
    def read(self, index: int) -> RawImage:
        """Reads one image; raises OSError, naming the file, when it cannot be read."""

    def encoded(self, index: int) -> tuple[str, bytes] | None:
        """Where the image's file is, and its bytes; None where images are made, not read. Raises as `read`."""
        return None

    def content(self, index: int) -> bytes:
        """What the image's pixels follow from: of equal bytes equal pixels are read. Raises as `read`."""
        encoded = self.encoded(index)
        if encoded is not None:
            return self.exif.encode() + encoded[1]
        image_HW3 = self.read(index).image_HW3
        return str(image_HW3.shape).encode() + image_HW3.tobytes()

    def annotation(self, index: int) -> Annotation:
        """The image's boxes; a split that knows them without decoding overrides this."""
        return Annotation(self.read(index).boxes_N4)

    @property
    def num_boxes_N(self) -> np.ndarray | None:
        """int64: how many boxes each image has; None where only reading the images would tell."""
        return None

    @property
    def num_with_boxes(self) -> int | None:
        """How many images have a box; None where only reading them would tell."""
        return None if self.num_boxes_N is None else int(np.count_nonzero(self.num_boxes_N))

    def __len__(self) -> int:
        return len(self.label_N)


class Subset(ImageSplit):
    """Some images of a split, in the order of `indices`, with its own labels where classes were left out."""

    def __init__(self, split: ImageSplit, indices: np.ndarray, label_N: np.ndarray | None = None) -> None:
        self.split = split
        self.indices = np.asarray(indices, dtype=np.int64)
        self.ids = SelectedStrings(split.ids, self.indices)
        self.label_N = split.label_N[self.indices] if label_N is None else label_N
        self.target_NC = None if split.target_NC is None else split.target_NC[self.indices]
        self.image_N = None if split.image_N is None else split.image_N[self.indices]
        self.exif = split.exif

    def read(self, index: int) -> RawImage:
        return self.split.read(int(self.indices[index]))

    def encoded(self, index: int) -> tuple[str, bytes] | None:
        return self.split.encoded(int(self.indices[index]))

    def content(self, index: int) -> bytes:
        return self.split.content(int(self.indices[index]))

    def annotation(self, index: int) -> Annotation:
        return self.split.annotation(int(self.indices[index]))

    @property
    def num_boxes_N(self) -> np.ndarray | None:
        of_all = self.split.num_boxes_N
        return None if of_all is None else of_all[self.indices]


class Splits(NamedTuple):
    """What a dataset's reader finds."""

    names: list[str]
    """The names of all classes: label i is `names[i]`."""
    train: ImageSplit | None
    """`train-weaksup`: labels are all that is needed of it. None where only evaluation's images are there."""
    test: ImageSplit
    fullsup: ImageSplit | None = None
    """`train-fullsup`: images with boxes or masks on which thresholds are chosen; None where there is no such split."""

    def parts(self) -> dict[str, ImageSplit]:
        """Those that there are, by the names that results have for them."""
        named = (("train", self.train), ("val", self.fullsup), ("test", self.test))
        return {name: split for name, split in named if split is not None}


def images_per_class(split: ImageSplit, num_classes: int) -> np.ndarray:
    """How many images show each class: by their labels, or where an image has several, by all of them."""
    target_NC = once_per_image(split).target_NC
    if target_NC is None:
        return np.bincount(split.label_N, minlength=num_classes)
    return np.nansum(target_NC, axis=0).astype(np.int64)


def once_per_image(split: ImageSplit) -> ImageSplit:
    """Every image once, as training sees it: of those that show several classes the entry of the first class."""
    if split.image_N is None:
        return split
    _, first = np.unique(split.image_N, return_index=True)
    return Subset(split, np.sort(first))


def with_every_class(split: ImageSplit, images: ImageSplit) -> ImageSplit:
    """Of the images of `images`, which are some of `once_per_image(split)`, the entries for every class that they show.

    So evaluation sees them: what is found of each class is scored by the boxes of that class.
    """
    if split.image_N is None or images.image_N is None:
        return images
    return Subset(split, np.flatnonzero(np.isin(split.image_N, images.image_N)))


def keep_classes(split: ImageSplit, classes: Sequence[int]) -> Subset:
    """The images of some classes, labelled 0, 1, … in the order of `classes`.

    Raises ValueError for images of several labels, which would be of a class and of none at once.
    """
    if split.target_NC is not None:
        raise ValueError("dataset.classes chooses among images of one label each, and these have several")
    new_label = np.full(1 + max([*classes, split.label_N.max(initial=0)]), -1, dtype=np.int64)
    new_label[list(classes)] = np.arange(len(classes))
    label_N = new_label[split.label_N]
    indices = np.flatnonzero(label_N >= 0)
    return Subset(split, indices, label_N[indices])


def first_per_class(split: ImageSplit, count: int) -> Subset:
    """The first `count` images of every class, in the split's order."""
    first = [members[: max(count, 0)] for members in _members(split)]
    return Subset(split, np.sort(np.concatenate([*first, np.zeros(0, np.int64)])))


def hold_out(split: ImageSplit, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Splits into (kept, held out): a seeded share of every class, at least one image where a class has two.

    Every class keeps an image for training. The choice depends on the seed and the split alone.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"dataset.val_fraction lies between 0 and 1; got {fraction}")
    held = np.zeros(len(split), dtype=bool)
    random = np.random.Generator(np.random.Philox(seed))
    for members in _members(split):
        if len(members) > 1:
            count = min(max(1, round(fraction * len(members))), len(members) - 1)
            held[random.permutation(members)[:count]] = True
    return Subset(split, np.flatnonzero(~held)), Subset(split, np.flatnonzero(held))


def hold_out_by_id(split: ImageSplit, fraction: float, seed: int | str) -> tuple[Subset, Subset]:
    """Splits into (kept, held out): an image is held out where the hash of (seed, its id) is below the share.

    So other images of the class are nothing to it: adding files moves none that was there. Of each class about the
    share is held out, with the scatter of chance. Exceptions are classes of which chance would hold out no image or
    all: of two images or more, the one with the lowest hash is held out in any case, and the one with the highest is
    kept. The first of these may go back to the kept ones when files are added, which harms nobody. Ids are compared
    by their characters, composed (NFC) as Linux and Windows write them, decomposed as macOS may.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"a share that is held out lies between 0 and 1; got {fraction}")
    rank_N = np.array([_rank(seed, identity) for identity in split.ids], dtype=np.float64)
    held = rank_N < fraction
    for members in _members(split):
        if len(members) > 1:
            held[members[np.argmin(rank_N[members])]] = True
            if held[members].all():
                held[members[np.argmax(rank_N[members])]] = False
        else:
            held[members] = False
    return Subset(split, np.flatnonzero(~held)), Subset(split, np.flatnonzero(held))


def draw_per_class(split: ImageSplit, counts: Sequence[int | None], seed: int) -> list[Subset]:
    """Disjoint subsets with so many images of every class, drawn by the hash of (seed, id); None: all that are left.

    So the images of one class are nothing to another's, nor the order in which they were found. Where a class has
    too few for all of them, the last subsets get what there is. In each the split's order is kept.
    """
    rank_N = np.array([_rank(f"draw {seed}", identity) for identity in split.ids], np.float64)
    drawn: list[list[np.ndarray]] = [[] for _ in counts]
    for members in _members(split):
        rest = members[np.argsort(rank_N[members], kind="stable")]
        for part, count in zip(drawn, counts, strict=True):
            part.append(rest[:count])
            rest = rest[len(part[-1]) :]
    return [Subset(split, np.sort(np.concatenate([*part, np.zeros(0, np.int64)]))) for part in drawn]


def fingerprint(ids: Sequence[str]) -> str:
    """SHA-256 of a split's ids in their order, as 64 hexadecimal digits: equal for equal ids in equal order alone.

    The hash is that of every id in UTF-8 (names that are not: their own bytes), each followed by a zero byte.
    """
    digest = hashlib.sha256()
    for part in terminated(ids):
        digest.update(part)
    return digest.hexdigest()


def _rank(seed: int | str, identity: str) -> float:
    """A number in 0..1 that looks drawn at random, and is the same for the same seed and id for ever."""
    text = f"{seed}\0{unicodedata.normalize('NFC', identity)}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    # 53 bits: every one of these numbers is a float of its own, and none is rounded up to 1.
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def _members(split: ImageSplit) -> list[np.ndarray]:
    """The images of each class that has some, in the split's order, classes in theirs."""
    order = np.argsort(split.label_N, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(split.label_N[order])) + 1)
