"""A smaller copy of a dataset, as a folder that `dataset=folder` reads: file bytes are most of what loading costs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.image_file import is_image, read_header
from cam_lightning.dataset.pipeline.split import ImageSplit, fingerprint
from cam_lightning.dataset.pipeline.transform import resized_view
from cam_lightning.dataset.pipeline.walk import is_companion
from cam_lightning.dataset.pipeline.worker import one_thread
from cam_lightning.dataset.tool.check import Progress
from cam_lightning.run.file import json_text

log = logging.getLogger(__name__)

SETTINGS, BOXES = "resized.json", "annotations.csv"
MARK = b"cam_lightning copy of "
"""In the comment of each JPEG, before the hash of its source."""
LONGEST_NAME = 200
"""Bytes; file systems take 255, and a suffix may follow."""
COLUMNS = ("image", "class", "x0", "y0", "x1", "y1")


class Resized(NamedTuple):
    """One image of the copy."""

    path: str
    """Below the copy's folder."""
    boxes_N4: np.ndarray
    """In the copy's pixels."""
    fault: str
    """Why there is no such image; "" where there is."""


class Result(NamedTuple):
    """What was written."""

    num_images: int
    num_boxes: int
    faults: list[str]


def resize(
    data: LocalizationDataModule,
    to: Path,
    short_side: int,
    quality: int,
    progress: Progress,
    num_workers: int | None = None,
) -> Result:
    """Writes every image of every split to `to/<split>/<class>/`, and all boxes to `to/annotations.csv`.

    An image whose short side is longer than `short_side` becomes a JPEG of that short side, bilinear with
    antialiasing; others are copied byte for byte. Files appear whole or not at all, and those that are there are
    made again only where their source has changed, so that an interrupted call can be repeated. Raises ValueError
    where `to` holds something else, or a copy made otherwise or of other splits, and for images of several classes,
    whose copies would have one; OSError for an image that cannot be read, unless `on_bad_image=skip`. Masks are not
    copied, and a warning says so.
    """
    splits = data.chosen_splits()
    parts = splits.parts()
    _tell_of_masks(parts)
    if any(split.image_N is not None for split in parts.values()):
        raise ValueError("images that show several classes have no one folder to be copied to: they cannot be resized")
    _require_folder_names(splits.names)
    settings: dict[str, object] = {
        "dataset": type(data).__name__,
        "classes": data.classes,
        "images": {name: len(split) for name, split in parts.items()},
        # Another draw of the splits would put images into training beside the same ones in the test split.
        "ids": {name: fingerprint(split.ids) for name, split in parts.items()},
    }
    _claim(to, settings | {"root": str(getattr(data, "root", "")), "short_side": short_side, "quality": quality})
    rows: list[tuple[str, str, np.ndarray]] = []
    faults: list[str] = []
    for name, split in parts.items():
        copies = Copies(split, splits.names, to, name, short_side, quality)
        for index, copy in enumerate(
            progress(_each(copies, num_workers), f"{name}: {len(split):,} images", len(split))
        ):
            if copy.fault and data.on_bad_image == "error":
                raise OSError(copy.fault)
            if copy.fault:
                faults.append(copy.fault)
            else:
                rows.append((copy.path, splits.names[int(split.label_N[index])], copy.boxes_N4))
    _write(to / BOXES, _table(rows))
    return Result(len(rows), sum(len(boxes_N4) for _, _, boxes_N4 in rows), faults)


class Copies(Dataset[Resized]):
    """The images of a split, each made smaller where it is asked for; a dataset, so that workers share the work."""

    def __init__(
        self, split: ImageSplit, class_names: list[str], to: Path, split_name: str, short_side: int, quality: int
    ) -> None:
        self.split = split
        self.to = to
        self.short_side = short_side
        self.quality = quality
        folders = [f"{split_name}/{class_names[label]}" for label in split.label_N.tolist()]
        self.paths = copy_paths(folders, split.ids)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Resized:
        try:
            path, boxes_N4, data = self._made(index)
        except OSError as error:
            return Resized(self.paths[index], np.zeros((0, 4), np.float32), str(error))
        # Outside: a disk that is full is no fault of the image.
        if data is not None:
            _write(self.to / path, data)
        return Resized(path, boxes_N4, "")

    def _made(self, index: int) -> tuple[str, np.ndarray, bytes | None]:
        """Path, boxes and bytes of one image; no bytes where the file is there already. Raises OSError as `read`."""
        encoded, path = self.split.encoded(index), self.paths[index]
        if encoded is None:
            image_HW3 = self.split.read(index).image_HW3
            height, width = image_HW3.shape[:2]
            source = image_HW3.tobytes()
        else:
            source = encoded[1]
            header = read_header(encoded[1], encoded[0])
            height, width = header.shown_size(self.split.exif == "upright")
        boxes_N4 = self.split.annotation(index).boxes_N4
        scale = min(1.0, self.short_side / min(height, width))
        # A copied file would be read as it is stored, where the copy is read with defaults.
        is_turned = encoded is not None and self.split.exif == "upright" and "EXIF-rotated" in header.traits
        if scale == 1 and encoded is not None and not is_turned:
            if _is_file_of(self.to / path, encoded[1]):
                return path, boxes_N4, None
            # Only what can be decoded is worth a place in the copy.
            self.split.read(index)
            return path, boxes_N4, encoded[1]
        new_height, new_width = (max(1, math.floor(side * scale + 0.5)) for side in (height, width))
        path += "" if path.lower().endswith((".jpg", ".jpeg")) else ".jpg"
        # In float64, so that the box of a whole image stays that of a whole image.
        boxes_N4 = boxes_N4 * np.array([new_width / width, new_height / height] * 2)
        mark = MARK + hashlib.blake2b(source, digest_size=16).hexdigest().encode()
        if _mark_of(self.to / path) == mark:
            return path, boxes_N4, None
        small_3HW = resized_view(self.split.read(index).image_HW3, None, (new_height, new_width))
        buffer = io.BytesIO()
        Image.fromarray(small_3HW.permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=self.quality, comment=mark)
        return path, boxes_N4, buffer.getvalue()


def _each(copies: Copies, num_workers: int | None) -> Iterable[Resized]:
    cores = len(os.sched_getaffinity(0)) if num_workers is None else num_workers
    workers = cores if cores > 1 and len(copies) > 500 else 0
    loader = DataLoader(copies, batch_size=16, num_workers=workers, collate_fn=list, worker_init_fn=one_thread)
    return (copy for batch in loader for copy in batch)


def _tell_of_masks(parts: dict[str, ImageSplit]) -> None:
    for name, split in parts.items():
        try:
            has_masks = len(split) > 0 and split.read(0).mask_HW is not None
        except OSError:
            # Said when it is its turn.
            continue
        if has_masks:
            log.warning("the %s images have masks, which are not copied: nothing can be scored by pixels there", name)


def copy_paths(folders: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Where the copy of each image lies, below the copy's folder: no two in one place, whatever they are called.

    A copy is called as its source, or by its whole id where a folder has that name twice. Where such names meet
    still, with `.jpg` behind them or letters of another case, or are none that a folder's reader would take, a hash of
    the id is in them.
    """
    files = [identity.rpartition("/")[2] for identity in ids]
    twice = Counter(zip(folders, map(str.casefold, files), strict=True))
    names = [
        file if twice[folder, file.casefold()] == 1 else identity.replace("/", "_")
        for folder, file, identity in zip(folders, files, ids, strict=True)
    ]
    claims = Counter(claim for claim_of in map(_claims, folders, names) for claim in claim_of)
    return [
        f"{folder}/{name if is_alone and _is_safe(name) else _hashed(name, identity)}"
        for folder, name, identity, is_alone in zip(
            folders,
            names,
            ids,
            (all(claims[claim] == 1 for claim in _claims(*own)) for own in zip(folders, names, strict=True)),
            strict=True,
        )
    ]


def _claims(folder: str, name: str) -> set[str]:
    """The files that an image's copy may become: its source's bytes, or a JPEG."""
    path = f"{folder}/{name}".casefold()
    return {path} if path.endswith((".jpg", ".jpeg")) else {path, f"{path}.jpg"}


def _is_safe(name: str) -> bool:
    return bool(name) and not is_companion(name) and len(name.encode("utf-8", "surrogateescape")) <= LONGEST_NAME


def _hashed(name: str, identity: str) -> str:
    stem, suffix = os.path.splitext(name.lstrip("."))
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return f"{stem[:50]}-{digest}{suffix if len(suffix) < 10 else ''}"


def _is_file_of(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _mark_of(path: Path) -> bytes:
    """What a JPEG of ours says of its source; nothing where there is none, or another file."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            return bytes(image.info.get("comment", b""))
    except OSError:
        return b""


def _require_folder_names(names: list[str]) -> None:
    wrong = [name for name in names if "/" in name or "\0" in name or is_image(name) or not _is_safe(name)]
    if wrong:
        raise ValueError(f"the class {wrong[0]!r} cannot be the name of a folder ({len(wrong)} such classes)")


def _claim(to: Path, settings: dict[str, object]) -> None:
    """Makes the folder this copy's, or goes on in it; raises ValueError where it is another's."""
    path = to / SETTINGS
    if path.is_file():
        try:
            found = dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path} is not what a copy writes ({error}): give another folder") from error
        differing = [key for key in {**found, **settings} if found.get(key) != settings.get(key)]
        if differing:
            one, other = ({key: values.get(key) for key in differing} for values in (found, settings))
            raise ValueError(f"to={to} holds a copy made of {one}, not of {other}: give another folder")
        return
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ValueError(f"to={to} is not empty, and holds no {SETTINGS}: give a folder that is empty or absent")
    _write(path, json_text(settings, indent=2).encode())


def _table(rows: list[tuple[str, str, np.ndarray]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for path, class_name, boxes_N4 in rows:
        # A box that is annotated twice stands there once: two equal rows would be a mistake of the table's.
        for box in dict.fromkeys(map(tuple, boxes_N4.tolist())):
            # Nine digits tell every float32 from every other.
            writer.writerow([path, class_name, *(f"{value:.9g}" for value in box)])
    return text.getvalue().encode()


def _write(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.part")
    temporary.write_bytes(data)
    os.replace(temporary, path)
