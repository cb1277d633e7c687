"""The page of several runs: their table, what failed, and their galleries side by side."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import NamedTuple

from cam_lightning.report.gallery import PICTURE_BYTES, UNREADABLE, embedded, told_by
from cam_lightning.report.html import TEMPLATES
from cam_lightning.report.run_record import RunRecord, prediction_of, read_predictions
from cam_lightning.report.sweep_table import SweepTable
from cam_lightning.report.sweep_text import caption, cells, header
from cam_lightning.run.file import write_text
from cam_lightning.run.prediction_table import Prediction

MOST_ROWS = 24
MOST_COLUMNS = 12


class Cell(NamedTuple):
    """One run's overlay of one image."""

    source: str
    """The picture, as a data URI."""
    width: int
    height: int
    prediction: Prediction | None


class SideBySide(NamedTuple):
    """The same images in several runs."""

    columns: list[str]
    rows: list[tuple[str, list[Cell | None]]]
    """(image, its overlay in each run; None where the run's sample has it not)."""
    note: str
    damaged: list[str]
    """Files that cannot be read, and why, with their run's name."""


def write_sweep_report(table: SweepTable, path: Path, title: str) -> Path:
    """Writes one self-contained page to `path`, whole or not at all, and returns the path."""
    page = TEMPLATES.get_template("sweep.html.j2").render(
        title=title,
        table=table,
        caption=caption(table),
        header=header(table),
        rows=[cells(table, row) for row in table.rows],
        links=[[_link(run, path) for run in (*row.finished, *row.unfinished)] for row in table.rows],
        num_parameters=len(table.parameters),
        gallery=side_by_side(table),
    )
    write_text(path, page)
    return path


def _link(run: RunRecord, page: Path) -> tuple[str, str]:
    """A run's name, and its own report as seen from the page."""
    return run.path.name, os.path.relpath(run.path / "report.html", page.parent)


def side_by_side(table: SweepTable) -> SideBySide:
    """One run of each configuration, of one seed wherever there is one: a seed chooses which images are drawn."""
    shown = [row for row in table.rows if row.finished][:MOST_COLUMNS]
    seeds = [{run.config.get("seed") for run in row.finished} for row in shown]
    shared = sorted(set.intersection(*seeds), key=repr) if seeds else []
    runs = [
        next((run for run in row.finished if shared and run.config.get("seed") == shared[0]), row.finished[0])
        for row in shown
    ]
    pictures = [{path.name: path for path in sorted((run.path / "overlays" / "test").glob("*.png"))} for run in runs]
    names = sorted({name for of_run in pictures for name in of_run})
    # What most runs have comes first: one image in one run alone compares nothing.
    names.sort(key=lambda name: -sum(name in of_run for of_run in pictures))
    names = names[:MOST_ROWS]
    limit = PICTURE_BYTES // max(1, len(names) * len(runs))
    damaged: list[str] = []
    predictions = [_predictions(run, damaged) for run in runs]
    rows = []
    for name in names:
        of_image = [
            _cell(run, of_run[name], of_run_predictions, limit, damaged) if name in of_run else None
            for run, of_run, of_run_predictions in zip(runs, pictures, predictions, strict=True)
        ]
        known = next((cell.prediction for cell in of_image if cell and cell.prediction), None)
        rows.append((f"{known.id}: {known.label_name}" if known else Path(name).stem, of_image))
    left_out = sum(bool(row.finished) for row in table.rows) - len(shown)
    seed = f"Runs of seed {shared[0]}." if shared else ""
    more = f" The best {len(shown)}; {left_out} more are in the table." if left_out else ""
    return SideBySide([", ".join(row.parameters) or run.path.name for row, run in zip(shown, runs, strict=True)],
                      rows, seed + more, damaged)  # fmt: skip


def _predictions(run: RunRecord, damaged: list[str]) -> list[Prediction]:
    try:
        return read_predictions(run.path, "test")
    except (ValueError, OSError) as error:
        damaged.append(f"{run.path.name}: {error}")
        return []


def _cell(run: RunRecord, path: Path, predictions: list[Prediction], limit: int, damaged: list[str]) -> Cell | None:
    try:
        small, webp, _ = embedded(path, limit)
        image_id, _ = told_by(path)
    except UNREADABLE as error:
        damaged.append(f"{run.path.name}: overlays/test/{path.name}: {error}")
        return None
    source = f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
    return Cell(source, *small.size, prediction_of(path.name, predictions, image_id))
