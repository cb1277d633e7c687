"""The gallery of a report: overlays small enough to travel inside one file, and what filters know of them."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cam_lightning.functional.overlay import Caption, localization_picture
from cam_lightning.report.run_record import prediction_of
from cam_lightning.run.prediction_table import Prediction

PICTURE_BYTES = 12_000_000
"""Of all pictures together; base64 makes 16 MB of it, so that the report stays below 20 MB."""
MOST_PICTURES = 1000
ENCODINGS = ((960, 82), (720, 78), (540, 75), (540, 60), (400, 60), (320, 50), (320, 30), (240, 25))
"""(longest width in pixels, WebP quality), the best first."""
UNREADABLE = (OSError, ValueError, SyntaxError)
"""What Pillow raises for a picture that is damaged."""
_BAND_EDGES = (0.25, 0.5, 0.75)
_BANDS = ("below 25 %", "25 to 50 %", "50 to 75 %", "75 % and more")
_NO_BAND = "not finite"
"""Of a network that overflowed while it was trained: NaN, which the file has as null."""


class Picture(NamedTuple):
    """One overlay, ready for the page."""

    source: str
    """The picture itself, as a data URI."""
    width: int
    height: int
    file: str
    """Where the full picture lies, below the run directory."""
    name: str
    prediction: Prediction | None
    facets: dict[str, str]
    """What the picture can be filtered by: facet → value."""


class Facet(NamedTuple):
    """One filter; `choices` are what it can be set to, in the order shown."""

    key: str
    title: str
    choices: list[str]


class Gallery(NamedTuple):
    """The pictures of one split."""

    split: str
    pictures: list[Picture]
    num_left_out: int
    facets: list[Facet]
    damaged: list[str]
    """Pictures that cannot be read, and why."""


def build_gallery(run_dir: Path, split: str, predictions: list[Prediction], iou_threshold: float) -> Gallery:
    """The overlays of a split in the dataset's order, at most `MOST_PICTURES` of them."""
    paths = sorted((run_dir / "overlays" / split).glob("*.png"))
    shown = paths[:MOST_PICTURES]
    pictures, damaged = [], []
    encoding = 0
    for path in shown:
        try:
            # Pictures of one run are alike: each is tried at one step finer than the one before.
            small, webp, encoding = embedded(path, PICTURE_BYTES // len(shown), max(0, encoding - 1))
        except UNREADABLE as error:
            damaged.append(f"overlays/{split}/{path.name}: {error}")
            continue
        prediction = prediction_of(path.name, predictions)
        source = f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
        facets = {} if prediction is None else _facets_of(prediction, iou_threshold)
        name = path.stem if prediction is None else prediction.id
        file = f"overlays/{split}/{path.name}"
        pictures.append(Picture(source, *small.size, file, name, prediction, facets))
    return Gallery(split, pictures, len(paths) - len(shown), _facets(pictures), damaged)


def embedded(path: Path, limit: int, first: int = 0) -> tuple[Image.Image, bytes, int]:
    """An overlay without its burnt-in caption: its pixels, as WebP, and the position of its encoding.

    That is the best of `ENCODINGS`, from `first` on, of at most `limit` bytes; only the last may be larger.
    """
    with Image.open(path) as file:
        picture = file.convert("RGB")
    picture = picture.crop((0, 0, picture.width, max(1, picture.height - _caption_height())))
    for position in range(first, len(ENCODINGS)):
        width, quality = ENCODINGS[position]
        small = picture
        if width < picture.width:
            height = max(1, round(picture.height * width / picture.width))
            small = picture.resize((width, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=quality)
        if buffer.tell() <= limit:
            break
    return small, buffer.getvalue(), position


def _facets_of(prediction: Prediction, iou_threshold: float) -> dict[str, str]:
    if prediction.ious:
        outcome = "hit" if prediction.ious[0] >= iou_threshold else "miss"
    else:
        outcome = "no box known"
    confidence = prediction.probabilities[0]
    band = _NO_BAND if confidence is None else _BANDS[sum(confidence >= edge for edge in _BAND_EDGES)]
    return {
        "box": outcome,
        "classification": "right" if prediction.is_right else "wrong",
        "confidence": band,
        "class": prediction.label_name,
    }


def _facets(pictures: list[Picture]) -> list[Facet]:
    """The filters that these pictures can be told apart by."""
    known = [picture.facets for picture in pictures if picture.facets]
    if not known:
        return []
    classes = sorted({facets["class"] for facets in known}, key=str.casefold)
    without_box = ["no box known"] if any(facets["box"] == "no box known" for facets in known) else []
    without_band = [_NO_BAND] if any(facets["confidence"] == _NO_BAND for facets in known) else []
    return [
        Facet("box", "top-1 box", ["hit", "miss", *without_box]),
        Facet("classification", "classification", ["right", "wrong"]),
        Facet("confidence", "confidence", [*_BANDS, *without_band]),
        Facet("class", "true class", classes),
    ]


@cache
def _caption_height() -> int:
    """Rows below an overlay that hold its caption; the page says the same in text of its own size."""
    nothing_04 = np.zeros((0, 4), np.float32)
    blank_HW3 = np.zeros((240, 240, 3), np.uint8)
    picture = localization_picture(blank_HW3, np.zeros((1, 1), np.float32), nothing_04, nothing_04, Caption("", ""))
    return picture.shape[0] - 240
