"""`objects.html` and `objects.json`: which objects fill the part that speaks for a scene's category, on one page."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from cam_lightning.localization.informative_objects import CategoryObjects, FoundObjects
from cam_lightning.report.html import TEMPLATES
from cam_lightning.run.file import write_json, write_text
from cam_lightning.unit.picture import lit

SIDE = 240
"""Of a picture on the page, in pixels: its longer side."""


class Picture(NamedTuple):
    """One image of a category."""

    id: str
    uri: str
    """The image, dark where the category's map is not high, as a data URI."""


def write_objects(run_dir: Path, found: FoundObjects, num_objects: int) -> Path:
    """Writes both files, the page with `num_objects` of each category, and returns the page's path.

    Raises OSError for an image that cannot be read.
    """
    protocol = {
        "split": found.split,
        "threshold": found.threshold,
        "region": "above threshold times the maximum of the map of the image's own category, at the image's size",
        "shares": "means over the category's images; 0 in an image without the object",
        "precision": "float32",
    }
    write_json(
        run_dir / "objects.json", {"protocol": protocol, "categories": [_record(each) for each in found.categories]}
    )
    page = run_dir / "objects.html"
    rows = [
        (each, each.objects[:num_objects], [_picture(found, index, map_hw) for index, map_hw in each.shown])
        for each in found.categories
    ]
    text = TEMPLATES.get_template("objects.html.j2").render(run_dir=run_dir, protocol=protocol, categories=rows)
    write_text(page, text)
    return page


def _record(category: CategoryObjects) -> dict[str, object]:
    return {
        "category": category.name,
        "num_images": category.num_images,
        "num_without_map": category.num_without_map,
        "objects": [
            {
                "object": each.name,
                "region_share": each.region_share,
                "image_share": each.image_share,
                "ratio": None if math.isnan(each.ratio) else each.ratio,
                "num_images": each.num_images,
            }
            for each in category.objects
        ],
    }


def _picture(found: FoundObjects, index: int, map_hw: object) -> Picture:
    picture = Image.fromarray(lit(found.source.original(index), map_hw, found.threshold))  # type: ignore[arg-type]
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=75)
    return Picture(found.source.ids[index], f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}")
