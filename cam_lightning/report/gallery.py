"""The gallery of a report: overlays small enough to travel inside one file, and what filters know of them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cam_lightning.functional.overlay import PANELS, SHOWN, Caption, Place, class_verdict, localization_picture
from cam_lightning.report.run_record import prediction_of
from cam_lightning.run.prediction_table import Prediction

PICTURE_BYTES = 12_000_000
"""Of all pictures together; base64 makes 16 MB of it, so that the report stays below 20 MB."""
MOST_PICTURES = 1000
ENCODINGS = ((960, 82), (720, 78), (540, 75), (540, 60), (400, 60), (320, 50), (320, 30), (240, 25))
"""(longest width in pixels, WebP quality), the best first."""
UNREADABLE = (OSError, ValueError, SyntaxError, TypeError)
"""What Pillow raises for a picture that is damaged, and Python where its panels are not as they were written."""
_BAND_EDGES = (0.25, 0.5, 0.75)
_BANDS = ("below 25 %", "25 to 50 %", "50 to 75 %", "75 % and more")
_NO_BAND = "not finite"
"""Of a network that overflowed while it was trained: NaN, which the file has as null."""


class Part(NamedTuple):
    """What is shown of one overlay: all of it, or one panel of a photo under several maps."""

    source: str
    """As a data URI."""
    width: int
    height: int
    name: str = ""
    """Of the panel's map."""
    detail: str = ""


class Picture(NamedTuple):
    """One overlay, ready for the page."""

    parts: list[Part]
    """One, or of a run with several maps the photo and each of them, which a page lays out as it is wide."""
    file: str
    """Where the full picture lies, below the run directory."""
    name: str
    prediction: Prediction | None
    verdict: str
    """Of the predicted class, in words."""
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
            parts, encoding = _parts(path, PICTURE_BYTES // len(shown), max(0, encoding - 1))
            image_id, shown_C = told_by(path)
        except UNREADABLE as error:
            damaged.append(f"overlays/{split}/{path.name}: {error}")
            continue
        prediction = prediction_of(path.name, predictions, image_id)
        file = f"overlays/{split}/{path.name}"
        if prediction is None:
            pictures.append(Picture(parts, file, path.stem, None, "", {}))
            continue
        if shown_C is not None and prediction.classes[0] >= len(shown_C):
            shown_C = None
        verdict = class_verdict(prediction.classes[0], prediction.label, prediction.label_name, shown_C)
        facets = _facets_of(prediction, shown_C, iou_threshold)
        pictures.append(Picture(parts, file, prediction.id, prediction, verdict, facets))
    return Gallery(split, pictures, len(paths) - len(shown), _facets(pictures), damaged)


def _parts(path: Path, limit: int, first: int) -> tuple[list[Part], int]:
    """What is shown of an overlay, of at most `limit` bytes together, and the position of its coarsest encoding."""
    with Image.open(path) as file:
        places = [Place(*place) for place in json.loads(file.info.get(PANELS, "[]"))]
        panels = [file.convert("RGB").crop(place[:4]) for place in places]
    if not panels:
        small, webp, position = embedded(path, limit, first)
        return [_part(small, webp)], position
    encoded = [_encoded(panel, limit // len(panels), first) for panel in panels]
    parts = [
        _part(small, webp, place.name, place.detail) for place, (small, webp, _) in zip(places, encoded, strict=True)
    ]
    return parts, max(position for _, _, position in encoded)


def _part(small: Image.Image, webp: bytes, name: str = "", detail: str = "") -> Part:
    source = f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
    return Part(source, *small.size, name, detail)


def embedded(path: Path, limit: int, first: int = 0) -> tuple[Image.Image, bytes, int]:
    """An overlay without its burnt-in caption: its pixels, as WebP, and the position of its encoding.

    That is the best of `ENCODINGS`, from `first` on, of at most `limit` bytes; only the last may be larger.
    """
    with Image.open(path) as file:
        picture = file.convert("RGB")
    return _encoded(picture.crop((0, 0, picture.width, max(1, picture.height - _caption_height()))), limit, first)


def _encoded(picture: Image.Image, limit: int, first: int) -> tuple[Image.Image, bytes, int]:
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


def told_by(path: Path) -> tuple[str | None, list[int] | None]:
    """What an overlay of an image of several classes says of it, its id and which classes it shows; else None."""
    with Image.open(path) as file:
        image_id, shown_C = json.loads(file.info.get(SHOWN, "[null, null]"))
    if SHOWN in file.info and not (isinstance(image_id, str) and isinstance(shown_C, list)):
        raise ValueError(f"its text {SHOWN!r} is no id with a row of classes")
    return image_id, shown_C


def _facets_of(prediction: Prediction, shown_C: Sequence[int] | None, iou_threshold: float) -> dict[str, str]:
    if prediction.ious:
        outcome = "hit" if prediction.ious[0] >= iou_threshold else "miss"
    else:
        outcome = "no box known"
    confidence = prediction.probabilities[0]
    is_shown = 0 if shown_C is None else shown_C[prediction.classes[0]]
    outcome_of_class = "right" if prediction.is_right or is_shown == 1 else "not known" if is_shown else "wrong"
    band = _NO_BAND if confidence is None else _BANDS[sum(confidence >= edge for edge in _BAND_EDGES)]
    return {
        "box": outcome,
        "classification": outcome_of_class,
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
    without_class = ["not known"] if any(facets["classification"] == "not known" for facets in known) else []
    without_band = [_NO_BAND] if any(facets["confidence"] == _NO_BAND for facets in known) else []
    return [
        Facet("box", "top-1 box", ["hit", "miss", *without_box]),
        Facet("classification", "classification", ["right", "wrong", *without_class]),
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
