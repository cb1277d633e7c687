"""Decoding: RGB bytes whatever the file's own colours, and errors that name the file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cam_lightning.dataset.image_file import decode

PHOTO = np.full((30, 60, 3), (0, 9, 200), np.uint8)
PHOTO[..., 0] = np.arange(60) * 4


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_lossless_file_gives_its_bytes() -> None:
    image = decode(encoded(Image.fromarray(PHOTO), "PNG"), "photo")
    assert image.dtype == np.uint8
    assert image.shape == (30, 60, 3)
    assert (image == PHOTO).all()


def test_a_jpeg_gives_its_colours_in_the_order_red_green_blue() -> None:
    data = encoded(Image.fromarray(PHOTO), "JPEG", quality=95)
    oracle = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    difference = decode(data, "photo").astype(int) - oracle
    assert np.abs(difference).max() <= 2, "Pillow's and torchvision's decoders round differently"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_become_rgb(mode: str) -> None:
    """ILSVRC holds both kinds."""
    data = encoded(Image.fromarray(PHOTO).convert(mode), "JPEG", quality=95)
    oracle = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image = decode(data, "photo")
    assert image.shape == (30, 60, 3)
    assert np.abs(image.astype(int) - oracle).mean() < 2


def test_transparency_is_left_out() -> None:
    rgba = np.dstack([PHOTO, np.full((30, 60), 128, np.uint8)])
    assert (decode(encoded(Image.fromarray(rgba), "PNG"), "photo") == PHOTO).all()


def test_a_stored_rotation_is_not_applied() -> None:
    """Boxes are in the pixels as stored: 30 high and 60 wide, whatever EXIF says of turning them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(PHOTO), "JPEG", exif=exif)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6
    assert decode(data, "photo").shape == (30, 60, 3)


JPEG = encoded(Image.fromarray(PHOTO), "JPEG")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n\nthis is an html page, not a photo\n", id="text"),
        pytest.param(JPEG[: len(JPEG) // 2], id="truncated"),
        pytest.param(JPEG[:-20], id="truncated at the end"),
        pytest.param(JPEG[:3], id="header only"),
        pytest.param(encoded(Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 256), "PNG"), id="16 bit"),
        pytest.param(
            encoded(Image.fromarray(PHOTO), "GIF", save_all=True, append_images=[Image.fromarray(255 - PHOTO)]),
            id="animation",
        ),
    ],
)
def test_what_is_no_photo_is_named(data: bytes) -> None:
    with pytest.raises(OSError, match=r"^a folder/it's = one\.JPEG "):
        decode(data, "a folder/it's = one.JPEG")
