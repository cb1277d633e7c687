"""The table over several runs as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io

from rich.console import Console
from rich.table import Table

from cam_lightning.report.split_results import spec_of, split_of
from cam_lightning.report.sweep_table import Row, SweepTable, written
from cam_lightning.run.spreadsheet import safe_cell


def header(table: SweepTable) -> list[str]:
    """The columns' titles: parameters that differ, how many runs, results."""
    return [*table.parameters, "runs", *(_title(table, key) for key in table.keys)]


def cells(table: SweepTable, row: Row) -> list[str]:
    """One configuration, as `header` says."""
    total = len(row.finished) + len(row.unfinished)
    runs = str(total) if not row.unfinished else f"{len(row.finished)} of {total}"
    return [*row.parameters, runs, *(written(spec_of(key, table.specs), row.measures.get(key)) for key in table.keys)]


def lines_below(table: SweepTable) -> list[str]:
    """What a reader of the table must know beside it: what is missing, and what is wrong with it."""
    missing = [f"{run.state}: {run.name}" + (f": {run.reason}" if run.reason else "") for run in table.unfinished]
    return [*missing, *table.notes]


def as_text(table: SweepTable, width: int | None = None) -> str:
    """For a terminal; `width` in characters, that of the terminal where it is None."""
    drawn = Table(caption=caption(table), caption_justify="left")
    for number, title in enumerate(header(table)):
        drawn.add_column(title, justify="left" if number < len(table.parameters) else "right", overflow="fold")
    for row in table.rows:
        # Brackets in values are text here, not styles.
        drawn.add_row(*(cell.replace("[", r"\[") for cell in cells(table, row)))
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    console.print(drawn)
    # One line each, however narrow the terminal: a path or message that is cut cannot be copied.
    return "\n".join([stream.getvalue().rstrip(), *lines_below(table)]) + "\n"


def as_markdown(table: SweepTable) -> str:
    """For a README or an issue."""
    titles = header(table)
    rule = ["---"] * len(table.parameters) + ["---:"] * (len(titles) - len(table.parameters))
    rows = [titles, rule, *(cells(table, row) for row in table.rows)]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    below = [f"- {line}" for line in lines_below(table)]
    return "\n".join([*lines, "", caption(table), *([""] if below else []), *below]) + "\n"


def as_csv(table: SweepTable) -> str:
    """For further work: fractions with every digit; a mean and a sample standard deviation per result.

    Parameters that a spreadsheet would compute are made safe (`run/spreadsheet.py`).
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    measures = [f"{key} {part}" for key in table.keys for part in ("mean", "deviation")]
    writer.writerow([*map(safe_cell, table.parameters), "finished", "unfinished", *measures])
    for row in table.rows:
        numbers: list[float | None] = []
        for key in table.keys:
            numbers += row.measures.get(key, (None, None))
        writer.writerow([*map(safe_cell, row.parameters), len(row.finished), len(row.unfinished), *numbers])
    return stream.getvalue()


def _title(table: SweepTable, key: str) -> str:
    spec = spec_of(key, table.specs)
    arrow = {"lower": "↓", "higher": "↑", None: ""}[spec.better] if key == table.by else ""
    return " ".join(filter(None, (split_of(key), spec.title, f"({spec.arm})" if spec.arm else "", arrow)))


def caption(table: SweepTable) -> str:
    """What the rows are ordered by, and what ± means."""
    if not table.by:
        return "No run has a result."
    several = any(len(row.finished) > 1 for row in table.rows)
    spread = " Mean ± sample standard deviation over seeds." if several else ""
    return f"Best first, by {table.by}.{spread}"
