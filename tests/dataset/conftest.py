"""A small Tiny ImageNet with real JPEGs, as a folder and as a zip; photos are neither 64×64 nor square."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WNIDS = ("n02000003", "n01000001", "n03000002")
"""In the order of `wnids.txt`, which is not sorted."""
TRAIN_PER_CLASS, TEST_PER_CLASS = 5, 2


def _photo(height: int, width: int, seed: int) -> Image.Image:
    """Smooth and without symmetry, so that a crop, a mirror or swapped axes show."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 8 * seed)], axis=2).astype(np.uint8))


def _write(path: Path, seed: int) -> str:
    """Writes one photo; gives the inclusive corners of its box, as the dataset's text files have them."""
    height, width = 40 + seed, 70 - seed
    path.parent.mkdir(parents=True, exist_ok=True)
    _photo(height, width, seed).save(path, "JPEG", quality=95)
    return f"{seed}\t2\t{width - 1}\t{20 + seed}"


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """Image i of the tree is 40 + i high and 70 - i wide; its box is x i..69 - i, y 2..20 + i, inclusive."""
    root = tmp_path / "it's a = tiny, folder"
    seed = 0
    for wnid in sorted(WNIDS):
        rows = []
        for number in range(TRAIN_PER_CLASS):
            file = f"{wnid}_{number}.JPEG"
            rows.append(f"{file}\t{_write(root / 'train' / wnid / 'images' / file, seed)}\n")
            seed += 1
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(rows))
    rows = []
    for number in range(TEST_PER_CLASS * len(WNIDS)):
        file, wnid = f"val_{number}.JPEG", WNIDS[number % len(WNIDS)]
        rows.append(f"{file}\t{wnid}\t{_write(root / 'val' / 'images' / file, seed)}\n")
        seed += 1
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    (root / "words.txt").write_text(f"{WNIDS[0]}\tgoldfish, Carassius auratus\nn09999999\tnot of this dataset\n")
    return root


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[..., Path]:
    """Packs a folder; `top` is the one folder in the archive that holds everything, "" for none."""

    def pack(folder: Path, top: str = "tiny-imagenet-3/", name: str = "tiny.zip") -> Path:
        target = tmp_path / name
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, top + str(path.relative_to(folder)))
        return target

    return pack
