"""`units.html` and `units.json`: what the strongest units of each class see, on one page that opens from disk."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cam_lightning.report.html import TEMPLATES
from cam_lightning.run.file import write_json, write_text
from cam_lightning.unit.picture import cut_out, field_box, lit, seen_box
from cam_lightning.unit.search import FoundUnits
from cam_lightning.unit.weight import shared_units

SIDE = 112
"""Of a picture on the page, in pixels: its longer side."""


class Seen(NamedTuple):
    """One image of a unit."""

    id: str
    label: str
    activation: float
    part: str
    """What lights the unit up, as a data URI."""
    field: str
    """Its receptive field with that part lit, as a data URI."""


class UnitRow(NamedTuple):
    """One unit."""

    unit: int
    images: list[Seen]


class ClassRows(NamedTuple):
    """One class: its units with their weights, the largest first."""

    name: str
    units: list[tuple[UnitRow, float]]


def write_units(run_dir: Path, found: FoundUnits) -> Path:
    """Writes both files, and returns the page's path. Raises OSError for an image that cannot be read."""
    rows, records = {}, {}
    for place, unit in enumerate(found.strongest.units.tolist()):
        seen = [_seen(found, place, nth) for nth in range(int((found.strongest.index_KN[place] >= 0).sum()))]
        rows[unit] = UnitRow(unit, [picture for picture, _ in seen])
        records[unit] = [record for _, record in seen]
    units_CU, weights_CU = found.units.unit_CU.tolist(), found.units.weight_CU.tolist()
    weighed = [
        (name, list(zip(units_U, weights_U, strict=True)))
        for name, units_U, weights_U in zip(found.names, units_CU, weights_CU, strict=True)
    ]
    shared = {unit: [found.names[row] for row in classes] for unit, classes in shared_units(found.units).items()}
    protocol = {
        "split": found.split,
        "num_images": found.num_images,
        "threshold": found.threshold,
        "input_size": list(found.input_size),
        "boxes": "xyxy, half-open, in pixels of the image file",
        "precision": "float32",
    }
    write_json(
        run_dir / "units.json",
        {
            "protocol": protocol,
            "classes": [
                {"class": name, "units": [{"unit": unit, "weight": weight} for unit, weight in its_units]}
                for name, its_units in weighed
            ],
            "units": [{"unit": unit, "images": images} for unit, images in records.items()],
            "shared": [{"unit": unit, "classes": classes} for unit, classes in shared.items()],
        },
    )
    text = TEMPLATES.get_template("units.html.j2").render(
        classes=[ClassRows(name, [(rows[unit], weight) for unit, weight in its_units]) for name, its_units in weighed],
        shared=[(rows[unit], classes) for unit, classes in shared.items()],
        protocol=protocol,
        run_dir=run_dir,
    )
    write_text(run_dir / "units.html", text)
    return run_dir / "units.html"


def _seen(found: FoundUnits, place: int, nth: int) -> tuple[Seen, dict[str, Any]]:
    """The picture and the record of a unit's `nth` image."""
    strongest = found.strongest
    index = int(strongest.index_KN[place, nth])
    image_HW3 = found.source.original(index)
    size = (image_HW3.shape[0], image_HW3.shape[1])
    assert strongest.map_KNhw is not None
    map_hw = strongest.map_KNhw[place, nth].numpy()
    cell = strongest.cell(place, nth)
    field = field_box(found.fields.box(place, *cell), found.input_size, size)
    box = seen_box(map_hw, size, found.threshold)
    activation = float(strongest.peak_KN[place, nth])
    lit_HW3 = cut_out(lit(image_HW3, map_hw, found.threshold), field)
    name, label = found.source.ids[index], found.labels[index]
    record = {
        "id": name,
        "label": label,
        "activation": activation,
        "cell": list(cell),
        "receptive_field": list(field),
        "box": list(box),
    }
    return Seen(name, label, activation, _uri(cut_out(image_HW3, box)), _uri(lit_HW3)), record


def _uri(picture_HW3: np.ndarray) -> str:
    """A picture as a WebP data URI, its longer side at most `SIDE`."""
    picture = Image.fromarray(picture_HW3)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=75)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
