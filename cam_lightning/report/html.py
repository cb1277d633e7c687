"""`report.html`: one run on one page that opens from disk, finished or not."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cam_lightning.functional.overlap import written_overlap
from cam_lightning.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from cam_lightning.report.figures import last_values, learning_curves, overlaps, result_table, threshold_chart
from cam_lightning.report.gallery import build_gallery
from cam_lightning.report.run_record import RunRecord, read_predictions, read_run, read_threshold_curves

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "template"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""Everything that a run directory says is text to a page: the templates escape it."""
TEMPLATES.filters["overlap"] = written_overlap


def write_report(run_dir: Path) -> Path:
    """Writes `<run_dir>/report.html` from what the directory holds, and returns its path.

    One file without outside parts: results beside baselines, learning curves, overlaps, a gallery of the
    overlays, configuration and command. For a run that failed, as far as it got.
    """
    record = read_run(run_dir)
    values = record.results or last_values(record.curves)
    splits = {key.split("/")[0] for key in values}
    # A run that ended before its test is shown by its last validation.
    split = "val" if "val" in splits and "test" not in splits else "test"
    predictions = read_predictions(run_dir, split)
    page = TEMPLATES.get_template("report.html.j2").render(
        title=_title(record),
        record=record,
        state=record.status.get("state", "unknown"),
        time=_readable(record.status.get("time")),
        command=record.status.get("command", ""),
        error=record.status.get("error", ""),
        traceback=record.status.get("traceback", ""),
        table=result_table(values, split),
        protocol={key.partition("/")[2]: value for key, value in record.results.items() if key.startswith("protocol/")},
        curves=learning_curves(record.curves),
        overlaps=overlaps(predictions, record, split),
        thresholds=threshold_chart(read_threshold_curves(run_dir, split), record),
        gallery=build_gallery(run_dir, split, predictions, record.iou_threshold),
        plate={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
    )
    path = run_dir / "report.html"
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, path)
    return path


def _title(record: RunRecord) -> str:
    """What was trained on what, in the names of the configuration's targets."""
    parts = [_target(record.config.get(group)) for group in ("backbone", "dataset")]
    return " on ".join(part for part in parts if part) or record.path.name


def _target(part: Any) -> str:
    return str(part.get("_target_", "")).rpartition(".")[2] if isinstance(part, dict) else ""


def _readable(time: str | None) -> str:
    return f"{datetime.fromisoformat(time):%-d %B %Y, %H:%M}" if time else ""
