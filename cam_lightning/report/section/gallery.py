"""The overlays of the shown split, with what filters know of them."""

from __future__ import annotations

from typing import Any

from cam_lightning.report.gallery import build_gallery
from cam_lightning.report.page import RunPage

PLACE = 40
ANCHOR = "gallery"
NAME = TITLE = "Gallery"
FILES = ()


def content(page: RunPage) -> dict[str, Any] | None:
    """The pictures; nothing where there are none."""
    try:
        predictions, unknown = page.predictions, ""
    except ValueError as error:
        # The pictures are whole: they are shown without what the table would say of them.
        predictions, unknown = [], str(error)
    gallery = build_gallery(page.record.path, page.split, predictions, page.record.hit_iou)
    damage = [*gallery.damaged, *([unknown] if unknown and gallery.pictures else [])]
    if not gallery.pictures and not gallery.damaged:
        return None
    has_panels = any(len(picture.parts) > 1 for picture in gallery.pictures)
    return {"gallery": gallery, "has_panels": has_panels, "damage": damage}
