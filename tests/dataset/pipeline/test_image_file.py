"""Decoding: RGB bytes whatever the file's own colours, and errors that name the file."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cam_lightning.dataset.pipeline.image_file import decode, is_image, is_unread_photo, read_header, read_photo

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


def test_a_stored_rotation_is_not_applied() -> None:
    """Boxes are in the pixels as stored: 30 high and 60 wide, whatever EXIF says of turning them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(PHOTO), "JPEG", exif=exif)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6
    assert decode(data, "photo").shape == (30, 60, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_one_s_own_photo_is_turned_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "it's a photo"
    path.write_bytes(encoded(Image.fromarray(PHOTO), kind, exif=exif))
    with Image.open(path) as stored:
        oracle = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    image = read_photo(path)
    assert image.shape == oracle.shape == ((30, 60, 3) if orientation < 5 else (60, 30, 3))
    assert np.abs(image.astype(int) - oracle).mean() < 2


def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "it's = one.jpg"
    with pytest.raises(OSError, match=re.escape(str(path))):
        read_photo(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(OSError, match=re.escape(f"{path} cannot be read as an image")):
        read_photo(path)


GREY = PHOTO[..., 0]
RGBA = np.dstack([PHOTO, np.full((30, 60), 128, np.uint8)])
COARSE = Image.fromarray(PHOTO).quantize(16)


def sixteen_bit_rgb_png(image_HW3: np.ndarray) -> bytes:
    """Pillow writes none: the chunks by hand."""
    height, width = image_HW3.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image_HW3)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(PHOTO), "PNG", exif=exif)


MODES = {
    "grey": (encoded(Image.fromarray(GREY), "PNG"), np.dstack([GREY] * 3), ("grey",)),
    "black and white": (
        encoded(Image.fromarray(GREY > 99), "PNG"), np.dstack([np.where(GREY > 99, 255, 0)] * 3), ("grey",)),
    "grey of 16 bits": (
        encoded(Image.fromarray(GREY.astype(np.uint16) * 256 + 255), "PNG"), np.dstack([GREY] * 3), ("16-bit", "grey")),
    "RGB of 16 bits": (sixteen_bit_rgb_png(PHOTO.astype(np.uint16) * 256 + 255), PHOTO, ("16-bit",)),
    "palette": (encoded(COARSE, "PNG"), np.asarray(COARSE.convert("RGB")), ("palette",)),
    "palette with transparency": (
        encoded(COARSE, "PNG", transparency=bytes(range(0, 160, 10))),
        np.asarray(COARSE.convert("RGB")), ("palette", "alpha")),
    "alpha": (encoded(Image.fromarray(RGBA), "PNG"), PHOTO, ("alpha",)),
    "grey with alpha": (
        encoded(Image.fromarray(RGBA[..., [0, 3]], "LA"), "PNG"), np.dstack([GREY] * 3), ("alpha", "grey")),
    "CMYK": (
        encoded(Image.fromarray(RGBA, "CMYK"), "TIFF"),
        np.round((255.0 - PHOTO) * 127 / 255), ("CMYK",)),
    "several frames": (
        encoded(COARSE, "GIF", save_all=True, append_images=[Image.fromarray(255 - PHOTO).quantize(16)]),
        np.asarray(COARSE.convert("RGB")), ("palette", "several frames")),
    "EXIF-rotated": (rotated(), PHOTO, ("EXIF-rotated",)),
    "RGB": (encoded(Image.fromarray(PHOTO), "PNG"), PHOTO, ()),
    "WebP": (encoded(Image.fromarray(PHOTO), "WEBP", lossless=True), PHOTO, ()),
    "BMP": (encoded(Image.fromarray(PHOTO), "BMP"), PHOTO, ()),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb_by_the_rule(mode: str) -> None:
    """Lossless files, so that every pixel is known; CMYK may round either way."""
    data, expected, traits = MODES[mode]
    image = decode(data, "photo")
    assert image.dtype == np.uint8
    assert image.shape == (30, 60, 3)
    assert image.flags.writeable, "torch warns of arrays that are not"
    assert np.abs(image.astype(int) - expected).max() <= (1 if mode == "CMYK" else 0)
    header = read_header(data, "photo")
    assert (header.height, header.width) == (30, 60)
    assert header.traits == traits


def test_a_cmyk_jpeg_as_adobe_writes_it_inverted() -> None:
    """ILSVRC holds some. All that is compared is colour, coarsely: JPEG loses the rest."""
    flat = np.full((32, 32, 4), (200, 40, 90, 60), np.uint8)
    data = encoded(Image.fromarray(flat, "CMYK"), "JPEG", quality=100)
    assert b"Adobe" in data
    expected = (255 - flat[..., :3].astype(float)) * (255 - 60) / 255
    assert np.abs(decode(data, "photo") - expected).max() <= 4
    assert read_header(data, "photo").traits == ("CMYK",)


JPEG = encoded(Image.fromarray(PHOTO), "JPEG")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n\nthis is an html page, not a photo\n", id="text"),
        pytest.param(JPEG[: len(JPEG) // 2], id="truncated"),
        pytest.param(JPEG[:-20], id="truncated at the end"),
        pytest.param(JPEG[:3], id="header only"),
        pytest.param(encoded(Image.fromarray(PHOTO), "JPEG", progressive=True)[:-40], id="truncated progressive"),
        pytest.param(encoded(Image.fromarray(GREY), "JPEG")[:-40], id="truncated grey"),
        pytest.param(encoded(Image.effect_noise((60, 30), 90), "PNG")[:-200], id="truncated PNG"),
        pytest.param(encoded(Image.effect_noise((60, 30), 90), "GIF")[:-200], id="truncated GIF"),
        pytest.param(encoded(Image.effect_noise((60, 30), 90), "BMP")[:-200], id="truncated BMP"),
        pytest.param(encoded(Image.new("F", (60, 30)), "TIFF"), id="32 bits"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="a program"),
    ],
)
def test_what_is_no_photo_is_named(data: bytes) -> None:
    with pytest.raises(OSError, match=r"^a folder/it's = one\.JPEG "):
        decode(data, "a folder/it's = one.JPEG")


@pytest.mark.parametrize("cut", [2, 20, 300])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": Image.Exif().tobytes()}])
def test_a_header_also_tells_where_a_jpeg_ends_too_early(cut: int, options: dict[str, object]) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8))
    data = encoded(noise, "JPEG", **options)
    assert read_header(data, "photo").width == 60
    assert read_header(data + b"rubbish after the end", "photo").width == 60
    with pytest.raises(OSError, match=r"^photo is truncated: its [\d,]+ bytes end before its image does$"):
        read_header(data[:-cut], "photo")
    with pytest.raises(OSError, match=r"^photo is no|^photo cannot be read"):
        read_header(b"no image", "photo")


@pytest.mark.parametrize(
    ("file", "expected"),
    [("a.JPEG", True), ("a.b.png", True), ("a.xml", False), ("jpg", False), ("a.JFIF", True), ("x/a.ppm", True)],
)
def test_images_by_name(file: str, expected: bool) -> None:
    assert is_image(file) == expected
    assert not is_unread_photo(file)


@pytest.mark.parametrize("file", ["IMG_1.HEIC", "a.b.cr2", "a.psd"])
def test_photos_that_are_not_read_are_known_by_name(file: str) -> None:
    assert is_unread_photo(file)
    assert not is_image(file)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG2000", "RGB"), ("JPEG2000", "L"), ("AVIF", "RGB"), ("PPM", "RGB"), ("PPM", "L"), ("DIB", "RGB")],
)
def test_further_kinds_are_read_whole(kind: str, mode: str) -> None:
    """Lossless ones to the bit; AVIF, which is not, closely."""
    image = Image.fromarray(PHOTO).convert(mode)
    data = encoded(image, kind)
    found = decode(data, "photo").astype(int)
    assert np.abs(found - np.asarray(image.convert("RGB"))).mean() <= (4 if kind == "AVIF" else 0)
    assert read_header(data, "photo")[:2] == (30, 60)
