"""Street views with text against outdoor scenes without: a text detector that no box has taught (section 4.2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cam_lightning.dataset.format.concept import ABSENT, PRESENT, JoinedSplit, images_below, with_drawn_negatives
from cam_lightning.dataset.format.labelled import LabelledPhotos
from cam_lightning.dataset.format.svt import read_svt
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row, require_annotated_sizes
from cam_lightning.dataset.pipeline.option import is_number, seed
from cam_lightning.dataset.pipeline.split import RawImage, Splits, hold_out_by_id
from cam_lightning.dataset.pipeline.storage import Storage

IGNORED = 255


class StreetViewText(LabelledPhotos):
    """Two classes, `no text` and `text`; the boxes are those of the words, and only score what was found.

    `root` is `svt1`, or the folder that holds it: `train.xml`, `test.xml`, `img/`. `negatives` is any folder or zip of
    outdoor scenes, those of SUN397 or Places: a share of them as large as that of the text's test images is held out
    for testing, by the hash of (`split_seed`, path), and of each part `negatives_per_positive` for every image with
    text are drawn. That they hold no text is taken on trust, as in the paper.

    An image has a box for each tagged word, and a mask of all of them, so that pixels can be scored too. Only words
    of the image's lexicon are tagged, so a map that finds other writing counts as wrong there. Source: Wang et al.
    2011, from whose files boxes are `x y width height`.
    """

    SOURCE = "Fetch svt.zip of Street View Text (Wang, Babenko and Belongie 2011), and a folder of outdoor scenes."
    DRAWN_BY = "split_seed"

    def __init__(
        self,
        root: str,
        negatives: str | None = None,
        negatives_per_positive: float = 1.0,
        split_seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(root=root, **common)
        if not is_number(negatives_per_positive) or negatives_per_positive <= 0:
            raise ValueError(f"dataset.negatives_per_positive is a number above 0; got {negatives_per_positive!r:.80}")
        self.negatives = negatives
        self.negatives_per_positive = float(negatives_per_positive)
        self.split_seed = seed("dataset.split_seed", split_seed)

    def read_splits(self) -> Splits:
        if self.negatives is None:
            raise ValueError("dataset.negatives is the folder of outdoor scenes without text: dataset.negatives=SUN397")
        storage = Storage(self.root)
        top = self.top_of(storage, ["train.xml", "test.xml", "img"], ["svt1", "svt/svt1"])
        parts = [self._text(storage, top, f"{part}.xml") for part in ("train", "test")]
        self.require_files(storage, [path for split in parts for path in split.ids], "train.xml or test.xml")
        for split in parts:
            require_annotated_sizes(split)
        scenes = Storage(self.negatives)
        paths = images_below(scenes)
        if len(paths) < 2:
            raise ValueError(f"dataset.negatives={scenes.root} holds {len(paths)} images: expected many outdoor scenes")
        outside = TextSplit(scenes, Index.pack(Row(path, ABSENT) for path in paths))
        share = len(parts[1]) / sum(map(len, parts))
        joined = []
        for split, others in zip(parts, hold_out_by_id(outside, share, self.split_seed), strict=True):
            both = JoinedSplit(split, others)
            joined.append(self.seen(with_drawn_negatives(both, self.negatives_per_positive, self.split_seed)))
        return Splits(["no text", "text"], *joined)

    def _text(self, storage: Storage, top: str, file: str) -> TextSplit:
        images = read_svt(storage.read(f"{top}{file}"), storage.describe(f"{top}{file}"))
        rows = (Row(f"{top}{image.name}", PRESENT, image.boxes_N4, image.size) for image in images)
        return TextSplit(storage, Index.pack(rows))


class TextSplit(IndexedSplit):
    """Images of which the mask is what the boxes of words cover, to whole pixels outwards.

    Where there is no word the whole image is ignored: its own class is `no text`, whose map has no place to be.
    """

    def read(self, index: int) -> RawImage:
        image_HW3, boxes_N4, _ = super().read(index)
        mask_HW = np.full(image_HW3.shape[:2], 0 if len(boxes_N4) else IGNORED, np.uint8)
        for x0, y0, x1, y1 in np.concatenate([np.floor(boxes_N4[:, :2]), np.ceil(boxes_N4[:, 2:])], 1).astype(int):
            mask_HW[y0:y1, x0:x1] = 1
        return RawImage(image_HW3, boxes_N4, mask_HW)
