"""An index that is kept in a file, as long as what it was made of stays as it was.

While an index is built, every folder that is listed and every file that is read is noted with its time of change
and its size. The kept index is used only when all of them are still the same: a folder's time changes when an
entry is added, removed or renamed, a file's when it is written. What is inside the images is not in the index.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cam_lightning.dataset.pipeline.index import Index
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.dataset.pipeline.strings import PackedStrings

log = logging.getLogger(__name__)

VERSION = 1
"""Of the meaning of the kept arrays; the file's name depends on it."""
TOO_YOUNG_NS = 2_000_000_000
"""What changed so shortly before the build may change again within one tick of the file system's clock."""


class Stamps:
    """What an index is made of: folders and files, with time of change and size when they were first looked at."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[int, int]] = {}

    def note(self, path: Path) -> Path:
        """Notes a folder or a file before it is read; gives it back."""
        self.of.setdefault(str(path), _stamp(str(path)))
        return path


class NotedStorage(Storage):
    """A storage that notes what is looked at."""

    def __init__(self, root: str | Path, stamps: Stamps) -> None:
        super().__init__(root)
        self.stamps = stamps

    def names(self, folder: str) -> list[str]:
        self.stamps.note(self.root if self.is_zip else self.root / folder)
        return super().names(folder)

    def read(self, path: str) -> bytes:
        self.stamps.note(self.root if self.is_zip else self.root / path)
        return super().read(path)


def cached_index(folder: str | None, name: str, key: object, build: Callable[[Stamps], Index]) -> Index:
    """The index that `build` makes, from the file that an earlier call left in `folder` where nothing changed.

    `key` is all that the index depends on beside files: roots, options. A kept index is mapped into memory: the
    processes of one machine share it. `folder=None` keeps nothing; a folder that cannot be written is only said.
    """
    if folder is None:
        return build(Stamps())
    digest = hashlib.sha256(json.dumps([VERSION, key], default=str).encode()).hexdigest()[:16]
    path = Path(folder).expanduser().absolute() / f"{name}-{digest}.index"
    index = _load(path)
    if index is None:
        began, stamps = time.time_ns(), Stamps()
        index = build(stamps)
        if max((changed for changed, _ in stamps.of.values()), default=0) > began - TOO_YOUNG_NS:
            log.info("the index is not kept: the data have just been changed")
        else:
            _save(path, index, stamps)
    return index


def _save(path: Path, index: Index, stamps: Stamps) -> None:
    paths = PackedStrings.pack(stamps.of)
    arrays = {
        "ids": index.ids.bytes_M,
        "first_id": index.ids.start_N1,
        "label": index.label_N,
        "size": index.size_N2,
        "first_box": index.first_box_N1,
        "boxes": index.boxes_M4,
        "stamped": paths.bytes_M,
        "first_stamped": paths.start_N1,
        "stamps": np.array(list(stamps.of.values()), np.int64).reshape(-1, 2),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            try:
                torch.save({name: torch.from_numpy(values) for name, values in arrays.items()}, file)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        log.warning("the index cannot be kept in dataset.cache=%s (%s): it is made anew each time", path.parent, error)


def _load(path: Path) -> Index | None:
    """None where there is none, or where something has changed since."""
    if not path.is_file():
        return None
    try:
        tensors = torch.load(path, mmap=True, weights_only=True)
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        stamped = PackedStrings(arrays["stamped"], arrays["first_stamped"])
        ids = PackedStrings(arrays["ids"], arrays["first_id"])
        index = Index(ids, arrays["label"], arrays["size"], arrays["first_box"], arrays["boxes"])
    except (RuntimeError, OSError, EOFError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        log.warning("%s cannot be read, and is made anew: %s", path, error)
        return None
    for file, stamp in zip(stamped, arrays["stamps"].tolist(), strict=True):
        if _stamp(file) != tuple(stamp):
            log.info("%s has changed: the index is made anew", file)
            return None
    return index


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return -1, -1
    return status.st_mtime_ns, status.st_size
