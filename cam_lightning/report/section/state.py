"""Why a run failed, or that it had not ended."""

from __future__ import annotations

from typing import Any

from cam_lightning.report.page import RunPage

PLACE = 0
ANCHOR = "state"
NAME = TITLE = ""
FILES = ("status.json",)
STYLE = "failure"


def content(page: RunPage) -> dict[str, Any] | None:
    """What ended the run, with its traceback; nothing of a run that finished."""
    status = page.record.status
    if status.get("state") not in ("failed", "running"):
        return None
    return {
        "has_failed": status["state"] == "failed",
        "error": str(status.get("error", "")),
        "traceback": str(status.get("traceback", "")),
    }
