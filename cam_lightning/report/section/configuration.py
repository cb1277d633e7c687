"""The configuration, as it was."""

from __future__ import annotations

from typing import Any

from cam_lightning.report.page import RunPage

PLACE = 50
ANCHOR = "configuration"
NAME = TITLE = "Configuration"
FILES = ("config.yaml",)


def content(page: RunPage) -> dict[str, Any] | None:
    """Its text; nothing where the run never began."""
    return {"text": page.record.config_text} if page.record.config_text else None
