"""A concept in images with captions: those whose caption holds a phrase, against others (section 4.2 of the paper)."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cam_lightning.dataset.format.captions import read_captions
from cam_lightning.dataset.format.concept import ABSENT, PRESENT, with_drawn_negatives
from cam_lightning.dataset.format.labelled import LabelledPhotos
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row
from cam_lightning.dataset.pipeline.option import is_number, seed, share, whole
from cam_lightning.dataset.pipeline.split import ImageSplit, Splits, Subset, hold_out_by_id
from cam_lightning.dataset.pipeline.storage import Storage

log = logging.getLogger(__name__)

FOUND = (
    ("annotations/captions_train2014.json", "annotations/captions_val2014.json"),
    ("annotations/captions_train2017.json", "annotations/captions_val2017.json"),
    ("captions_train2014.json", "captions_val2014.json"),
    ("captions_train2017.json", "captions_val2017.json"),
    ("Flickr8k.token.txt", None),
    ("Flickr8k_text/Flickr8k.token.txt", None),
)
"""Where captions lie as they are published: those of all or of the training images, and those of the test images."""
FOLDERS = ("", "images/", "Flicker8k_Dataset/", "Flickr8k_Dataset/", "Flickr8k_Dataset/Flicker8k_Dataset/")
"""Where images lie; of COCO also in `train2014/` and the like, which the name of the captions' file says."""


class Captions(LabelledPhotos):
    """Two classes: images with `phrase` in a caption, and drawn ones without; `CLASS` and `no CLASS` in results.

    A phrase is whole words, in any case and with any space between them: `lake` is not in `snowflakes`. Several
    phrases mean any of them. With `min_captions` an image has the concept only where so many of its captions say it;
    images of which fewer do are neither positive nor negative. For every positive `negatives` others are drawn, by
    the hash of (`split_seed`, id).

    `captions` is a file of COCO's JSON or of Flickr8k's `name.jpg#0<TAB>caption`; null: where each of these lies as
    it is published. The test images are those of `test_captions`, or those that the list `test_images` names (as
    `Flickr_8k.testImages.txt`), or else a share `test_fraction`, drawn with `split_seed` too. There are no boxes.
    """

    SOURCE = (
        "Fetch COCO's train2014.zip, val2014.zip and annotations_trainval2014.zip into one folder, or Flickr8k's "
        "Flickr8k_Dataset.zip and Flickr8k_text.zip."
    )
    DRAWN_BY = "split_seed"

    def __init__(
        self,
        root: str,
        phrase: str | Sequence[str] | None = None,
        captions: str | None = None,
        test_captions: str | None = None,
        test_images: str | None = None,
        min_captions: int = 1,
        negatives: float = 1.0,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(root=root, **common)
        if test_captions is not None and (captions is None or test_images is not None):
            raise ValueError("dataset.test_captions needs dataset.captions beside it, and no dataset.test_images")
        if not is_number(negatives) or negatives <= 0:
            raise ValueError(
                f"dataset.negatives, how many for each positive, is a number above 0; got {negatives!r:.80}"
            )
        self.phrases = [] if phrase is None else _phrases(phrase)
        self.captions = captions
        self.test_captions = test_captions
        self.test_images = test_images
        self.min_captions = whole("dataset.min_captions", min_captions, 1)
        self.negatives = float(negatives)
        self.test_fraction = share("dataset.test_fraction", test_fraction)
        self.split_seed = seed("dataset.split_seed", split_seed)

    def read_splits(self) -> Splits:
        if not self.phrases:
            raise ValueError("dataset.phrase says what is looked for in the captions: dataset.phrase='mirror in lake'")
        storage = Storage(self.root)
        files = self._files(storage)
        found = [self._labelled(storage, place, path) for place, path in files]
        ids = [identity for split in found for identity in split.ids]
        self.require_files(storage, ids, " and ".join(place.describe(path) for place, path in files))
        train, test = found if len(found) == 2 else self._parted(found[0])
        concept = " or ".join(self.phrases)
        drawn = []
        for part, split in (("training", train), ("test", test)):
            found_2 = np.bincount(split.label_N, minlength=2)
            if not found_2[PRESENT]:
                raise ValueError(
                    f"dataset.phrase={concept}: none of the {len(split):,} {part} images has "
                    f"{'a caption' if self.min_captions == 1 else f'{self.min_captions} captions'} with it"
                )
            if not found_2[ABSENT]:
                raise ValueError(f"dataset.phrase={concept}: all of the {len(split):,} {part} images have it")
            drawn.append(self.seen(with_drawn_negatives(split, self.negatives, self.split_seed)))
            log.info(
                "data: %d of %d %s images have a caption with %s, and %d without are drawn",
                found_2[PRESENT],
                len(split),
                part,
                concept,
                (drawn[-1].label_N == ABSENT).sum(),
            )
        return Splits([f"no {concept}", concept], *drawn)

    def _files(self, storage: Storage) -> list[tuple[Storage, str]]:
        """The files of captions, each with where it lies: one for all images, or one for training and one for test."""
        if self.captions is not None:
            given = [Path(str(path)).expanduser() for path in (self.captions, self.test_captions) if path is not None]
            return [(Storage(path.parent), path.name) for path in given]
        for paths in FOUND:
            named = [(storage, path) for path in paths if path is not None]
            if all(path.rpartition("/")[2] in storage.names(path.rpartition("/")[0]) for _, path in named):
                return named[:1] if self.test_images is not None else named
        raise self.not_laid_out(storage, f"{FOUND[0][0]} and {FOUND[0][1]}, or {FOUND[4][0]} (dataset.captions)")

    def _labelled(self, storage: Storage, place: Storage, path: str) -> ImageSplit:
        """The images of one file of captions, those left out of which too few captions hold the phrase."""
        captions = read_captions(place.read(path), place.describe(path))
        stem = path.rpartition("/")[2].removeprefix("captions_").partition(".")[0]
        folders = (*FOLDERS, f"{stem}/", f"images/{stem}/")
        top = next((top for top in folders if not captions.keys().isdisjoint(storage.names(top.rstrip("/")))), "")
        rows = []
        for name, its_captions in captions.items():
            count = sum(any(phrase_in(phrase, caption) for phrase in self.phrases) for caption in its_captions)
            if its_captions and (count == 0 or count >= self.min_captions):
                rows.append(Row(f"{top}{name}", PRESENT if count else ABSENT))
        return IndexedSplit(storage, Index.pack(rows))

    def _parted(self, split: ImageSplit) -> tuple[ImageSplit, ImageSplit]:
        """Training and test images of one file."""
        if self.test_images is None:
            return hold_out_by_id(split, self.test_fraction, self.split_seed)
        path = Path(str(self.test_images)).expanduser()
        names = {line.strip() for line in Storage(path.parent).read_lines(path.name)}
        is_test_N = np.array([identity.rpartition("/")[2] in names for identity in split.ids])
        if not is_test_N.any():
            raise ValueError(f"{path} names no image that has captions: expected a file's name on each line")
        return Subset(split, np.flatnonzero(~is_test_N)), Subset(split, np.flatnonzero(is_test_N))


def phrase_in(phrase: str, caption: str) -> bool:
    """Whether a caption holds a phrase as whole words, in any case and with any space between its words."""
    words = r"\s+".join(map(re.escape, phrase.split()))
    return re.search(rf"(?<!\w){words}(?!\w)", caption, re.IGNORECASE) is not None


def _phrases(phrase: Any) -> list[str]:
    """One phrase or several; raises ValueError for what is none."""
    phrases = [phrase] if isinstance(phrase, str) else phrase
    if not isinstance(phrases, Sequence) or not phrases or not all(isinstance(p, str) and p.strip() for p in phrases):
        raise ValueError(f"dataset.phrase is words, or a list of such; got {phrase!r:.80}")
    return [" ".join(each.split()) for each in phrases]
