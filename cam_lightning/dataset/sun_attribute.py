"""SUN Attribute: scenes with 102 attributes, each by the votes of several people."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from cam_lightning.dataset.format.labelled import LabelledPhotos
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row
from cam_lightning.dataset.pipeline.option import seed, share
from cam_lightning.dataset.pipeline.split import Splits, hold_out_by_id
from cam_lightning.dataset.pipeline.storage import Storage

FILES = {"images.mat": "images", "attributes.mat": "attributes", "attributeLabels_continuous.mat": "labels_cv"}
"""The files of `SUNAttributeDB`, and what each holds."""
UNDECIDED = ("drop", "negative")


class SunAttribute(LabelledPhotos):
    """An attribute holds where the share of votes for it is at least `positive`, and does not where it has none.

    Between them it is not known (`undecided=drop`: the image neither trains nor tests that attribute) or does not
    hold (`negative`). `attributes` is the folder of the three .mat files, `images` the one of `a/abbey/sun_….jpg`.
    `label_N`, which is all that a single-label number of such data could mean, is the attribute with most votes, the
    first of several. No list of training images is part of it: `test_fraction` of the images are drawn with
    `split_seed`. Source: Patterson and Hays 2012.
    """

    SOURCE = "Fetch SUNAttributeDB.tar.gz and SUNAttributeDB_Images.tar.gz of Brown's SUN Attribute database."
    DRAWN_BY = "split_seed"

    def __init__(
        self,
        root: str,
        attributes: str | None = None,
        images: str | None = None,
        positive: float = 0.66,
        undecided: str = "drop",
        test_fraction: float = 0.1,
        split_seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(root=root, **common)
        if undecided not in UNDECIDED:
            raise ValueError(f"dataset.undecided is one of {', '.join(UNDECIDED)}; got {undecided!r}")
        self.attributes = attributes
        self.images = images
        self.positive = share("dataset.positive", positive, up_to_one=True)
        self.undecided = undecided
        self.test_fraction = share("dataset.test_fraction", test_fraction)
        self.split_seed = seed("dataset.split_seed", split_seed)

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        lists = storage if self.attributes is None else Storage(self.attributes)
        top = self.top_of(lists, list(FILES), ["SUNAttributeDB"])
        cells, labels, votes_NC = (_read(lists, f"{top}{file}", key) for file, key in FILES.items())
        paths, names = _texts(cells, lists, f"{top}images.mat"), _texts(labels, lists, f"{top}attributes.mat")
        file = lists.describe(f"{top}attributeLabels_continuous.mat")
        if votes_NC.shape != (len(paths), len(names)) or votes_NC.dtype.kind not in "fiu":
            raise ValueError(
                f"{file}: labels_cv is {votes_NC.shape} of {votes_NC.dtype}; expected numbers of "
                f"{len(paths)} images and {len(names)} attributes"
            )
        if not ((votes_NC >= 0) & (votes_NC <= 1)).all():
            raise ValueError(f"{file}: labels_cv are shares of votes, from 0 to 1")
        pictures, prefix = self._pictures(storage, paths)
        self.require_files(pictures, [f"{prefix}{path}" for path in paths], "images.mat")
        rows = (Row(f"{prefix}{path}", int(label)) for path, label in zip(paths, votes_NC.argmax(1), strict=True))
        split = IndexedSplit(pictures, Index.pack(rows))
        undecided_NC = (votes_NC > 0) & (votes_NC < self.positive)
        split.target_NC = (votes_NC >= self.positive).astype(np.float32)
        if self.undecided == "drop":
            split.target_NC[undecided_NC] = np.nan
        train, test = hold_out_by_id(self.seen(split), self.test_fraction, self.split_seed)
        return Splits(names, train, test)

    def _pictures(self, storage: Storage, paths: list[str]) -> tuple[Storage, str]:
        """Where the images are, and what comes before their listed paths."""
        if self.images is not None:
            return Storage(self.images), ""
        folder = paths[0].rpartition("/")[0]
        prefixes = ("images/", "SUNAttributeDB_Images/images/", "SUN397/", "")
        return storage, next((prefix for prefix in prefixes if storage.names(f"{prefix}{folder}")), "images/")


def _read(storage: Storage, path: str, key: str) -> np.ndarray:
    """One array of a Matlab file; raises ValueError where it is none or has no such array."""
    from scipy.io import loadmat

    try:
        found = loadmat(io.BytesIO(storage.read(path)))
    except OSError:
        raise
    except Exception as error:
        # Broken bytes make the reader raise whatever comes to it: MatReadError, ValueError, zlib.error, …
        raise ValueError(f"{storage.describe(path)} is damaged or no Matlab file: {error}") from error
    if key not in found:
        names = ", ".join(name for name in found if not name.startswith("__")) or "nothing"
        raise ValueError(f"{storage.describe(path)} has no {key}; it holds {names}")
    return np.asarray(found[key])


def _texts(cells: np.ndarray, storage: Storage, path: str) -> list[str]:
    """The strings of a Matlab cell array; raises ValueError where it holds something else, or nothing."""
    texts = [str(cell.ravel()[0]) if getattr(cell, "size", 0) == 1 else "" for cell in cells.ravel()]
    if cells.dtype != object or not texts or "" in texts:
        raise ValueError(f"{storage.describe(path)}: expected a column of texts, a cell each")
    return [text.strip().lstrip("/") for text in texts]
