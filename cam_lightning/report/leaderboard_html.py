"""The page of a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cam_lightning.report.html import TEMPLATES
from cam_lightning.report.leaderboard import Board
from cam_lightning.report.leaderboard_text import COST_HEADER, SPREAD, best, cells, cost_cells, header
from cam_lightning.run.file import write_text


def write_leaderboard(boards: Sequence[Board], path: Path, title: str) -> Path:
    """Writes one self-contained page to `path`, whole or not at all, and returns the path."""
    page = TEMPLATES.get_template("leaderboard.html.j2").render(
        title=title,
        boards=boards,
        header=header,
        cells=cells,
        best=best,
        cost_header=COST_HEADER,
        cost_cells=cost_cells,
        spread=SPREAD,
    )
    write_text(path, page)
    return path
