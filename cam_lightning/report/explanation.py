"""`explanations.html` and `.json`: why each photo's map is as it is, a card for each on one page."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from cam_lightning.dataset.format.expectation import Expectations
from cam_lightning.dataset.pipeline.image_file import read_photo
from cam_lightning.functional.map_colours import DIVERGING, colour_bar, largest_value
from cam_lightning.functional.map_diagnosis import BORDER_AREA, KINDS
from cam_lightning.functional.overlap import written_overlap
from cam_lightning.functional.overlay import (
    EXPECTED_COLOUR,
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    at_picture_size,
    draw_boxes,
    heat_map,
)
from cam_lightning.localization.explanation import ClassView, Explainer, Explanation
from cam_lightning.report.html import TEMPLATES
from cam_lightning.run.file import write_json, write_text

log = logging.getLogger(__name__)


class Plate(NamedTuple):
    """One picture of a card, as a data URI."""

    source: str
    width: int
    height: int
    title: str
    note: str


class Card(NamedTuple):
    """One photo on the page."""

    name: str
    path: str
    kind: str
    meaning: str
    headline: str
    detail: str
    plates: list[Plate]
    rows: list[tuple[str, str, str]]
    """What is measured, of the predicted class's map and of the other's."""


def explain_photos(
    explainer: Explainer, expectations: Expectations, paths: list[Path], run_dir: Path, protocol: dict[str, Any]
) -> None:
    """Writes both files of the photos that can be read; the others are named in them and in the log.

    Raises OSError where none can be read.
    """
    cards: list[Card] = []
    records: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    for path in paths:
        try:
            pixels_HW3 = read_photo(path)
        except OSError as error:
            log.warning("left out: %s", error)
            unreadable.append({"path": str(path), "error": str(error)})
            continue
        expectation = expectations.of(path)
        found = explainer(pixels_HW3, expectation.output, expectation.true_N4, str(path))
        records.append(_record(path, found))
        cards.append(_card(path, pixels_HW3, found, explainer.unit.partition(" (")[0]))
        log.info("%s: %s, %s", path.name, found.predicted.name, found.diagnosis.kind)
    if not records:
        raise OSError(f"none of the {len(paths):,} files can be read as an image: {unreadable[0]['error']}")
    counts = {kind: sum(record["error"]["kind"] == kind for record in records) for kind in KINDS}
    counts = {kind: count for kind, count in counts.items() if count}
    result = {"protocol": protocol, "kinds": KINDS, "num_images": len(records), "counts": counts}
    write_json(run_dir / "explanations.json", {**result, "images": records, "unreadable": unreadable})
    page = TEMPLATES.get_template("explanation.html.j2").render(
        title=f"Why is the heat map wrong? {len(cards):,} photo{'s' * (len(cards) != 1)}",
        name=run_dir.name,
        protocol=_lines(protocol),
        counts=counts,
        kinds=KINDS,
        cards=cards,
        border_area=BORDER_AREA,
        unreadable=unreadable,
    )
    write_text(run_dir / "explanations.html", page)
    for kind, count in counts.items():
        print(f"{count:>5}  {kind:<13} {KINDS[kind]}")
    print(f"{'page':<12} {run_dir / 'explanations.html'}")
    print(f"{'explanations':<12} {run_dir / 'explanations.json'}")


def _record(path: Path, found: Explanation) -> dict[str, Any]:
    """One photo's entry of `explanations.json`."""
    views = {"predicted": _view(found.predicted), "other": None if found.other is None else _view(found.other)}
    return {
        "path": str(path),
        "width": found.size[1],
        "height": found.size[0],
        "expected": found.expected,
        "true_boxes": _numbers(found.true_N4),
        "error": found.diagnosis._asdict(),
        **views,
    }


def _view(view: ClassView) -> dict[str, Any]:
    return {
        "class": view.output,
        "name": view.name,
        "rank": view.rank,
        "logit": view.logit,
        "probability": view.probability,
        "box": _numbers(view.box_4),
        "names_region": view.has_region,
        "border_share": view.border_share,
        "centre_bias": view.centre_bias,
        "random_weights_rank_correlation": view.random_correlation,
        "map": view.map_hw.tolist(),
        "map_random_weights": view.random_map_hw.tolist(),
    }


def _numbers(boxes: Tensor) -> Any:
    return [[round(edge, 2) for edge in box] for box in boxes.tolist()] if boxes.ndim == 2 else _numbers(boxes[None])[0]


def _card(path: Path, pixels_HW3: np.ndarray, found: Explanation, unit: str) -> Card:
    predicted, other, diagnosis = found.predicted, found.other, found.diagnosis
    is_by_maps = diagnosis.judged_by == "maps" and diagnosis.inside is not None
    headline = f"{predicted.name}  {predicted.probability:.0%}"
    if found.expected is None:
        detail = "what is expected is not known"
    elif found.expected == predicted.output:
        detail = "as expected"
    else:
        assert other is not None
        detail = f"expected: {other.name}  {other.probability:.0%}, class {other.rank} of the ranking"
    if diagnosis.iou is not None:
        detail += f"; IoU {written_overlap(diagnosis.iou)}"
    return Card(
        path.name,
        str(path),
        diagnosis.kind,
        KINDS[diagnosis.kind] + (", judged by the maps' boxes" if is_by_maps else ""),
        headline,
        detail,
        _plates(pixels_HW3, found, unit),
        _rows(predicted, other),
    )


def _rows(predicted: ClassView, other: ClassView | None) -> list[tuple[str, str, str]]:
    measures = [
        ("probability", lambda view: f"{view.probability:.1%}"),
        ("logit", lambda view: f"{view.logit:.2f}"),
        ("highest value of the map", lambda view: f"{float(view.map_hw.max()):.3g}"),
        ("lowest value of the map", lambda view: f"{float(view.map_hw.min()):.3g}"),
        ("evidence at the border", lambda view: f"{view.border_share:.0%}"),
        ("centre bias", lambda view: f"{view.centre_bias:.2f}"),
        ("likeness to random weights", lambda view: f"{view.random_correlation:.2f}"),
    ]
    return [(title, of(predicted), of(other) if other is not None else "") for title, of in measures]


def _plates(pixels_HW3: np.ndarray, found: Explanation, unit: str) -> list[Plate]:
    """Photo, what was received, both maps on one scale, their difference, and the map of random weights."""
    small_HW3 = at_picture_size(pixels_HW3)
    factor_4 = np.array([small_HW3.shape[1] / found.size[1], small_HW3.shape[0] / found.size[0]] * 2)
    views = [view for view in (found.predicted, found.other) if view is not None]
    colours = (PREDICTION_COLOUR, EXPECTED_COLOUR)

    def with_boxes(picture_HW3: np.ndarray, shown: list[int]) -> np.ndarray:
        picture_HW3 = draw_boxes(picture_HW3, found.true_N4.numpy() * factor_4, TRUTH_COLOUR)
        for place in shown:
            picture_HW3 = draw_boxes(picture_HW3, views[place].box_4[None].numpy() * factor_4, colours[place])
        return picture_HW3

    def map_picture(map_hw: np.ndarray, limit: float, colour_map: str, shown: list[int], of_unit: str) -> np.ndarray:
        picture_HW3 = with_boxes(heat_map(small_HW3, map_hw, colour_map, limit), shown)
        return np.concatenate([picture_HW3, colour_bar(picture_HW3.shape[1], limit, of_unit, colour_map)])

    limit = max(largest_value(view.map_hw.numpy(), DIVERGING) for view in views)
    height, width = found.received_HW3.shape[:2]
    plates = [
        _plate(with_boxes(small_HW3, [*range(len(views))]), "photo", _box_note(found)),
        _plate(found.received_HW3, "what the network received", f"{height}×{width} pixels, from {found.size[0]}×"
               f"{found.size[1]}"),
    ]  # fmt: skip
    for place, view in enumerate(views):
        picture = map_picture(view.map_hw.numpy(), limit, DIVERGING, [place], unit)
        plates.append(_plate(picture, f"map of {view.name}", "on one scale" if len(views) > 1 else ""))
    if found.other is not None:
        difference_hw = (found.predicted.map_hw - found.other.map_hw).numpy()
        end = largest_value(difference_hw, DIVERGING)
        picture = map_picture(difference_hw, end, DIVERGING, [], unit)
        plates.append(
            _plate(picture, "their difference", f"red: for {found.predicted.name}; blue: for {views[1].name}")
        )
    random_hw = found.predicted.random_map_hw.numpy()
    picture = map_picture(random_hw, largest_value(random_hw, DIVERGING), DIVERGING, [], "")
    plates.append(_plate(picture, f"{found.predicted.name}, random weights", "a scale of its own"))
    return plates


def _box_note(found: Explanation) -> str:
    note = "cyan: predicted"
    if found.other is not None:
        note += "; orange: expected" if found.other.output == found.expected else "; orange: second best"
    return note + ("; white: true" if len(found.true_N4) else "")


def _plate(picture_HW3: np.ndarray, title: str, note: str) -> Plate:
    buffer = io.BytesIO()
    Image.fromarray(picture_HW3).save(buffer, "WEBP", quality=82)
    source = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Plate(source, picture_HW3.shape[1], picture_HW3.shape[0], title, note)


def _lines(protocol: dict[str, Any], place: str = "") -> list[tuple[str, str]]:
    """A protocol as rows of text."""
    rows = []
    for key, value in protocol.items():
        if isinstance(value, dict):
            rows += _lines(value, f"{place}{key} ")
        elif value is not None:
            rows.append((f"{place}{key}".replace("_", " "), str(value)))
    return rows
