"""Image files: uint8 RGB by one rule for every kind of file, and what a file's header says of it.

The rule, whatever the file's mode: grey levels become three equal channels; CMYK becomes
(255 - C)(255 - K) / 255 per channel; 16 bits become their higher 8; a palette is looked up; transparency is left
out, so a pixel has the colour that is stored for it; of several frames the first counts. A stored EXIF orientation
is not applied to a dataset's images: the boxes of ILSVRC, CUB and their relatives are in unrotated pixels.
"""

from __future__ import annotations

import io
from pathlib import Path, PurePath
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from cam_lightning.dataset.pipeline.jpeg_scan import has_zeroed_blocks

SUFFIXES_OF = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "SUN": (".ras", ".sr"),
    **({"JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")} if features.check("jpg_2000") else {}),
    **({"AVIF": (".avif",)} if features.check("avif") else {}),
}
"""What is read, and the endings that such files' names have. Others that Pillow knows start programs, or hold no
photos; two it knows only where it was built so."""
FORMATS = tuple(SUFFIXES_OF)
SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
UNREAD_SUFFIXES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".avif", ".jxl", ".jxr", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".psd", ".tga", ".exr", ".hdr", ".pic", ".pfm", ".pcx", ".ico", ".svg", ".xcf"),
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef"),
    )
).difference(SUFFIXES)
"""Endings of pictures that cannot be decoded here: they are left out, and never unsaid."""
TRAITS = ("CMYK", "16-bit", "palette", "alpha", "grey", "several frames", "EXIF-rotated")
ZEROED = "it is damaged: zeros lie where compressed pixels should be"
_ORIENTATION = 0x0112
_QUARTER_TURNS = (5, 6, 7, 8)
_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""From the upright picture back to the pixels that the file stores, by its EXIF orientation."""
_END_OF_JPEG, _END_OF_PNG = b"\xff\xd9", b"IEND"


class Header(NamedTuple):
    """What a file says of its image before it is decoded."""

    height: int
    width: int
    traits: tuple[str, ...]
    """Those of `TRAITS` that it has."""
    swaps_sides: bool = False
    """Whether the EXIF orientation turns it by a quarter."""

    def shown_size(self, upright: bool) -> tuple[int, int]:
        """Height and width, of the picture turned as EXIF says where `upright` asks for it."""
        return (self.width, self.height) if upright and self.swaps_sides else (self.height, self.width)


def is_image(file: str) -> bool:
    """Whether a file's name says that it holds an image that can be read."""
    return PurePath(file).suffix.lower() in SUFFIXES


def is_unread_photo(file: str) -> bool:
    """Whether a file's name says that it holds a picture, of a kind that cannot be decoded here."""
    return PurePath(file).suffix.lower() in UNREAD_SUFFIXES


def read_photo(path: Path) -> np.ndarray:
    """uint8 RGB (H, W, 3) of one's own photo, upright: turned as its EXIF orientation says, as every viewer does.

    Boxes on it are in the pixels of the upright photo. Raises OSError, naming the file, when it cannot be read.
    """
    return decode(path.read_bytes(), str(path), upright=True)


def photo_pixels(image: Image.Image) -> np.ndarray:
    """uint8 RGB (H, W, 3) of an image that Pillow has opened or made, by the same rule, upright as `read_photo`'s.

    Raises OSError where it cannot be decoded whole.
    """
    try:
        turned = _turned_tiff(image)
        return _rgb(ImageOps.exif_transpose(image)) if turned is None else turned
    except Exception as error:
        name = getattr(image, "filename", "") or f"a PIL image of mode {image.mode}"
        raise OSError(f"{name} cannot be read as an image: {error}") from error


def decode(data: bytes, name: str, upright: bool = False) -> np.ndarray:
    """uint8 RGB (H, W, 3) of an encoded image; raises OSError, naming the image, when it cannot be decoded whole.

    The EXIF orientation is applied only where `upright` asks for it.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format in ("JPEG", "MPO") and has_zeroed_blocks(data):
                raise ValueError(ZEROED)
            if upright:
                return _rgb(ImageOps.exif_transpose(image))
            whole = _plain_jpeg(data) if image.format == "JPEG" and image.mode in ("RGB", "L") else None
            return _rgb(_as_stored(image)) if whole is None else whole
    except Exception as error:
        # Broken bytes make decoders raise whatever comes to them: SyntaxError, struct.error, zlib.error, …
        raise OSError(f"{name} cannot be read as an image ({len(data):,} bytes): {_reason(data, error)}") from error


def read_header(data: bytes, name: str) -> Header:
    """A file's header; raises OSError where there is none, or where a JPEG or PNG ends before its image does."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            # Where the pixels begin: asking for traits may read on, and close the file.
            begin = image.fp.tell() if image.fp is not None else 0
            swaps_sides = _orientation(image) in _QUARTER_TURNS
            # Of a TIFF that is turned, Pillow tells the upright sides.
            width, height = image.size[::-1] if image.format == "TIFF" and swaps_sides else image.size
            traits = tuple(trait for trait, has_it in zip(TRAITS, _traits(image), strict=True) if has_it)
            end = {"JPEG": _END_OF_JPEG, "MPO": _END_OF_JPEG, "PNG": _END_OF_PNG}.get(image.format or "", b"")
            is_cut = data.find(end, begin) < 0
            if image.format in ("JPEG", "MPO") and has_zeroed_blocks(data):
                raise ValueError(ZEROED)
    except Exception as error:
        raise OSError(f"{name} cannot be read as an image ({len(data):,} bytes): {_reason(data, error)}") from error
    if is_cut:
        raise OSError(f"{name} is truncated: its {len(data):,} bytes end before its image does")
    return Header(height, width, traits, swaps_sides)


def _plain_jpeg(data: bytes) -> np.ndarray | None:
    """What nearly every photo is, by OpenCV: a quarter faster than Pillow, with the same pixels; None where it fails.

    Both come with libjpeg-turbo. Where OpenCV finds a file damaged, Pillow says what is wrong with it, or reads it.
    """
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def _as_stored(image: Image.Image) -> Image.Image:
    """An image in the pixels that its file stores; Pillow turns a TIFF upright while it decodes it."""
    back = _BACK.get(_orientation(image)) if image.format == "TIFF" else None
    return image if back is None else image.transpose(back)


def _turned_tiff(image: Image.Image) -> np.ndarray | None:
    """The upright pixels of a TIFF that was opened by its path and is turned by a quarter; None for any other image.

    Pillow (12 and 13 at least) maps such a file into memory, where it is not compressed, with its sides swapped
    before it turns it: the rows come out mixed, also where they were decoded before the image came here. Read as a
    stream the file comes out right. An image that has the stored sides is such a mixture; one that has the upright
    ones, or was resized since, is not.
    """
    path = getattr(image, "filename", "")
    if image.format != "TIFF" or not path or not Path(path).is_file():
        return None
    with Path(path).open("rb") as file, Image.open(file, formats=("TIFF",)) as again:
        again.seek(image.tell())
        is_mixed = bool(getattr(image, "tile", ())) or image.size == again.size[::-1] != again.size
        return _rgb(again) if _orientation(again) in _QUARTER_TURNS and is_mixed else None


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"it has 32 bits per pixel (mode {image.mode}), which stand for no colour")
    if image.mode == "P":
        # Straight to RGB, Pillow would warn of palettes with transparency.
        return np.asarray(image.convert("RGBA"))[..., :3].copy()
    return np.array(image.convert("RGB"))


def _traits(image: Image.Image) -> tuple[bool, ...]:
    tile = getattr(image, "tile", ())
    decoder = str(tile[0].args) if tile else ""
    return (
        image.mode == "CMYK",
        image.mode.startswith("I") or ";16" in decoder,
        image.mode in ("P", "PA"),
        image.has_transparency_data,
        image.mode in ("1", "L", "LA") or image.mode.startswith("I"),
        getattr(image, "n_frames", 1) > 1,
        _orientation(image) != 1,
    )


def _orientation(image: Image.Image) -> int:
    # Pillow decodes a whole PNG to look for EXIF behind its pixels.
    has_none = image.format == "PNG" and "exif" not in image.info
    return 1 if has_none else int(image.getexif().get(_ORIENTATION, 1))


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "it is empty"
    # Pillow names the buffer that it was given, which says nothing.
    return "it is no image of a known kind" if isinstance(error, UnidentifiedImageError) else str(error)
