"""What tests of folders of photos are made of."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cam_lightning.dataset.folder import Folder
from cam_lightning.dataset.tool.check import Report, check

WIDTH, HEIGHT = 50, 30


def photo(seed: int, width: int = WIDTH, height: int = HEIGHT, kind: str = "JPEG", **options: Any) -> bytes:
    """An image file unlike any of another seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(buffer, kind, **options)
    return buffer.getvalue()


def turned_photo(seed: int, orientation: int) -> bytes:
    """A JPEG that says how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return photo(seed, exif=exif)


def voc(name: str, *boxes: tuple[float, float, float, float], width: int = WIDTH, height: int = HEIGHT) -> str:
    """VOC's XML of one image, of corners that are both inside the box."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for a, b, c, d in boxes
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"


def coco(images: dict[str, str], box: Iterable[float] = (5, 6, 10, 12), **size: int) -> str:
    """COCO's JSON of images and their classes, the same box in each."""
    names = sorted(set(images.values()))
    return json.dumps(
        {
            "images": [{"id": i, "file_name": file} | size for i, file in enumerate(images)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
            "annotations": [
                {"id": i, "image_id": i, "category_id": names.index(name), "bbox": list(box)}
                for i, name in enumerate(images.values())
            ],
        }
    )


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def photos(root: Path, *paths: str) -> Path:
    """A photo at each path below a root."""
    for number, path in enumerate(paths):
        write(root / path, photo(number))
    return root


def checked(root: Path, **options: Any) -> Report:
    """What `check_data` finds."""
    return check(Folder(str(root), on_bad_image="skip", **options), False, lambda things, what, total: things)


def counts(report: Report) -> dict[str, dict[str, int]]:
    """Images per class, by split."""
    return {name: split.num_per_class for name, split in report.splits.items()}


def boxes_by_id(root: Path, **options: Any) -> dict[str, list[list[float]]]:
    """The boxes of every image that has some, by its id, as a run reads them."""
    splits = Folder(str(root), test_fraction=1, **options).read_splits().parts().values()
    read = {split.ids[i]: split.read(i).boxes_N4.tolist() for split in splits for i in range(len(split))}
    return {identity: boxes for identity, boxes in read.items() if boxes}
