"""Zeros in the middle of a JPEG are damage; zeros that a flat picture is made of are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cam_lightning.dataset.pipeline.image_file import decode, read_header
from cam_lightning.dataset.pipeline.jpeg_scan import has_zeroed_blocks


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def scene(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize(
    "options", [{}, {"quality": 95}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"quality": 50}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("where", "length"), [(0.5, 128), (0.3, 1024), (0.9, 200)])
def test_zeroed_blocks_are_damage(options: dict[str, int], mode: str, where: float, length: int) -> None:
    data = bytearray(jpeg(scene(mode), **options))
    assert not has_zeroed_blocks(bytes(data))
    scan = data.index(b"\xff\xda") + 14
    start = scan + int(where * (len(data) - scan))
    data[start : start + length] = bytes(min(length, len(data) - start - 2))
    assert has_zeroed_blocks(bytes(data))
    for read in (decode, read_header):
        with pytest.raises(OSError, match=r"it's\.jpg cannot be read as an image .*it is damaged: zeros lie where"):
            read(bytes(data), "it's.jpg")


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 200, 30), (128, 128, 128)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_flat_pictures_are_whole(optimize: bool, colour: tuple[int, int, int], mode: str) -> None:
    """With tables made for them, they are little else than zeros."""
    flat = Image.new("RGB", (900, 700), colour)
    half = scene().resize((900, 700))
    half.paste(flat.crop((0, 0, 900, 600)), (0, 50))
    for image in (flat, half):
        data = jpeg(image.convert(mode), optimize=optimize)
        assert not has_zeroed_blocks(data)
        assert decode(data, "flat").shape == (700, 900, 3)


@pytest.mark.parametrize("progressive", [False, True])
def test_zeros_elsewhere_are_no_damage(progressive: bool) -> None:
    """In what programs keep in a file, in its comment, and behind its end."""
    exif = Image.Exif()
    exif[0x010E] = "\0" * 300
    data = jpeg(scene(), exif=exif, comment=bytes(200), progressive=progressive) + bytes(4096)
    assert bytes(200) in data
    assert not has_zeroed_blocks(data)
    assert decode(data, "photo").shape == (240, 320, 3)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda" + bytes(100), bytes(500), b"\xff\xd8\xff\xff" * 50]
)
def test_what_is_no_jpeg_is_for_the_decoder_to_say(data: bytes) -> None:
    assert not has_zeroed_blocks(data + bytes(100))
