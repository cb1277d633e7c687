"""Small datasets with real image files; photos are not square, and show where their boxes are."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cam_lightning.contracts import Batch
from cam_lightning.functional.box import rescale

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


DARK, BRIGHT = 40, 220


@pytest.fixture
def draw_photo() -> Callable[..., None]:
    """Writes a dark image with its boxes (inclusive corners, 4 pixels or more apart) bright, in any mode of PIL."""

    def draw(path: Path, height: int, width: int, boxes: Sequence[Sequence[int]], mode: str = "RGB") -> None:
        grey = np.full((height, width), DARK, np.uint8)
        for x0, y0, x1, y1 in boxes:
            grey[y0 : y1 + 1, x0 : x1 + 1] = BRIGHT
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(grey).convert("RGB").convert(mode)
        image.save(path, **({"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}))

    return draw


@pytest.fixture
def bright_boxes() -> Callable[[np.ndarray], list[list[int]]]:
    """Where an RGB image (H, W, 3) is bright: half-open boxes of its connected parts, sorted."""

    def find(image_HW3: np.ndarray) -> list[list[int]]:
        bright = (image_HW3.mean(axis=2) > (DARK + BRIGHT) / 2).astype(np.uint8)
        _, _, statistics, _ = cv2.connectedComponentsWithStats(bright)
        return sorted([x, y, x + w, y + h] for x, y, w, h, _ in statistics[1:].tolist())

    return find


@pytest.fixture
def through_the_transform(bright_boxes: Callable[[np.ndarray], list[list[int]]]) -> Callable[..., None]:
    """Asserts that the boxes of a loader's batches are where its images are bright, at the input's size and back."""

    def check(loader: Iterable[Batch]) -> None:
        for batch in loader:
            height, width = batch.image_B3HW.shape[-2:]
            for image, boxes, count, size in zip(
                batch.image_B3HW, batch.truth.boxes_BN4, batch.truth.num_boxes_B, batch.truth.size_B2, strict=True
            ):
                seen = torch.tensor(bright_boxes(image.permute(1, 2, 0).numpy()), dtype=torch.float32)[None]
                back = rescale(seen, torch.tensor([[height, width]]), size[None])[0]
                truth = torch.tensor(sorted(boxes[:count].tolist()))
                # Half a pixel of the input, and one of the original where an edge is blurred.
                slack = torch.tensor([size[1] / width, size[0] / height] * 2) / 2 + 1
                assert back.shape == truth.shape
                assert ((back - truth).abs() <= slack).all(), (back, truth)

    return check
