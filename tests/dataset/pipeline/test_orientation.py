"""EXIF orientation over kinds of files, modes and turns: stored, upright, and of images that Pillow has opened."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cam_lightning.dataset.pipeline.image_file import decode, photo_pixels, read_header, read_photo

ORIENTATION = 0x0112
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""What each orientation means, from the specification's words on where row 0 and column 0 of the file are seen."""
KINDS = {
    "tiff": ({}, ("RGB", "L", "CMYK", "RGBA", "LA", "P", "1", "I;16")),
    "lzw.tiff": ({"compression": "tiff_lzw"}, ("RGB", "L", "CMYK", "RGBA", "P", "I;16")),
    "png": ({}, ("RGB", "L", "RGBA", "LA", "P", "1", "I;16")),
    "jpg": ({"quality": 95}, ("RGB", "L", "CMYK")),
    "webp": ({"lossless": True}, ("RGB", "RGBA")),
    "avif": ({"quality": 100, "subsampling": "4:4:4"}, ("RGB",)),
}
CASES = [(ending, mode) for ending, (_, modes) in KINDS.items() for mode in modes]


def picture(mode: str, height: int = 24, width: int = 40) -> Image.Image:
    """Smooth, so that lossy kinds keep it, and unlike itself turned in any way."""
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([x * 6, y * 10, 255 - x * 3 - y * 5], axis=2).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray((x * 1500 + y * 200).astype(np.uint16))
    image = Image.fromarray(ramps)
    return image.convert("RGBA").convert("LA") if mode == "LA" else image.convert(mode)


def write(path: Path, image: Image.Image, orientation: int) -> tuple[Path, np.ndarray]:
    """The file, and what it stores as uint8 RGB, from a twin that says nothing of being turned."""
    options = KINDS[path.name.partition(".")[2]][0]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(path, exif=exif, **options)
    twin = io.BytesIO()
    image.save(twin, {"jpg": "jpeg", "tif": "tiff"}.get(path.suffix[1:], path.suffix[1:]), **options)
    return path, decode(twin.getvalue(), "twin")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("ending", "mode"), CASES)
def test_every_way_to_an_image_gives_the_same_pixels(ending: str, mode: str, orientation: int, tmp_path: Path) -> None:
    path, stored = write(tmp_path / f"photo.{ending}", picture(mode), orientation)
    upright = UPRIGHT[orientation](stored)
    assert (orientation == 1) == np.array_equal(stored, upright), "no way of turning it leaves it as it is"
    data = path.read_bytes()
    with Image.open(path) as lazy, Image.open(path) as decoded, Image.open(path) as asked:
        decoded.load()
        asked.getexif()
        asked.load()
        ways = {
            "by its path": read_photo(path),
            "decoded upright": decode(data, "photo", upright=True),
            "opened by its path": photo_pixels(lazy),
            "opened and decoded": photo_pixels(decoded),
            "decoded after its EXIF was read": photo_pixels(asked),
            "opened as a stream": photo_pixels(Image.open(io.BytesIO(data))),
        }
    for way, pixels in ways.items():
        assert _same(pixels, upright, ending), way
    assert _same(decode(data, "photo"), stored, ending), "a dataset's image is not turned"
    header = read_header(data, "photo")
    assert (header.height, header.width) == header.shown_size(upright=False) == stored.shape[:2]
    assert header.shown_size(upright=True) == upright.shape[:2]
    assert ("EXIF-rotated" in header.traits) == (orientation != 1)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_square_tiff_and_one_that_was_shrunk_are_not_turned_twice(mode: str, tmp_path: Path) -> None:
    path, stored = write(tmp_path / "photo.tiff", picture(mode, 24, 24), 6)
    with Image.open(path) as image:
        image.load()
        assert np.array_equal(photo_pixels(image), UPRIGHT[6](stored))
    path, _ = write(tmp_path / "photo.lzw.tiff", picture(mode), 6)
    with Image.open(path) as image:
        image.thumbnail((12, 20))
        assert photo_pixels(image).shape == (20, 12, 3)
        assert np.array_equal(photo_pixels(image), np.array(image.convert("RGB")))


def test_a_further_frame_of_a_tiff_is_that_frame(tmp_path: Path) -> None:
    path = tmp_path / "frames.tiff"
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    first, second = picture("L"), picture("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    first.save(path, exif=exif, save_all=True, append_images=[second])
    with Image.open(path) as image:
        assert image.n_frames == 2
        image.seek(1)
        turned = image.getexif().get(ORIENTATION, 1)
        grey = UPRIGHT[turned](np.asarray(second))
        assert np.array_equal(photo_pixels(image), np.repeat(grey[..., None], 3, axis=2))


def _same(found: np.ndarray, expected: np.ndarray, ending: str) -> bool:
    if ending not in ("jpg", "avif"):
        return np.array_equal(found, expected)
    # Two decoders of one file round differently.
    return found.shape == expected.shape and float(np.abs(found.astype(int) - expected).mean()) < 2
