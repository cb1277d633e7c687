"""A leaderboard as Markdown, CSV and LaTeX; and the cells that the page has too."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from cam_lightning.report.leaderboard import Board, Cost, Plate, Standing
from cam_lightning.report.number import ABSENT
from cam_lightning.report.sweep_table import written
from cam_lightning.run.spreadsheet import safe_cell

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def header(plate: Plate) -> list[str]:
    """The columns' titles with what is better, after those of name and seeds."""
    arrows = {"lower": " ↓", "higher": " ↑", None: ""}
    of_row = zip(plate.columns, plate.rows[0].cells, strict=True)
    return ["method", "runs", *(f"{column.title}{arrows[cell.spec.better]}" for column, cell in of_row)]


def cells(row: Standing) -> list[str]:
    """A row as text, as `header` says."""
    runs = "" if row.is_baseline else str(len(row.runs))
    return [row.name, runs, *(written(cell.spec, cell.measure) for cell in row.cells)]


def best(plate: Plate) -> list[set[int]]:
    """Of each row, the columns, counted from the first number, where no method is better; baselines have no part."""
    found: list[set[int]] = [set() for _ in plate.rows]
    for column in range(len(plate.columns)):
        known = {}
        for number, row in enumerate(plate.rows):
            cell = row.cells[column]
            if cell.measure is not None and not row.is_baseline:
                known[number] = cell.measure.mean if cell.spec.better == "lower" else -cell.measure.mean
        if len(set(known.values())) > 1:
            for number, value in known.items():
                if value == min(known.values()):
                    found[number].add(column)
    return found


SPREAD = (
    "Mean ± sample standard deviation over seeds, where there are several; of a box that sees nothing over the runs of "
    "all methods, whose classes it has."
)
COST_HEADER = ["method", "seeds", "hours each", "device"]


def cost_cells(cost: Cost) -> list[str]:
    """What a method took."""
    if cost.hours is None:
        took = ABSENT
    else:
        took = f"{cost.hours.mean:.2g}" + ("" if cost.hours.deviation is None else f" ± {cost.hours.deviation:.1g}")
    return [cost.name, ", ".join(map(str, cost.seeds)), took, cost.device or ABSENT]


def as_markdown(boards: Sequence[Board]) -> str:
    """For a README or an issue: every table, the best of each column bold."""
    lines: list[str] = []
    for board in boards:
        lines += [f"## {board.title}", ""]
        for plate in board.plates:
            lines += [f"### {plate.title}", "", *([plate.note, ""] if plate.note else [])]
            rows = [cells(row) for row in plate.rows]
            for row, columns in zip(rows, best(plate), strict=True):
                for column in columns:
                    row[column + 2] = f"**{row[column + 2]}**"
            lines += [*_markdown(header(plate), rows), ""]
        lines += ["### Cost", "", *_markdown(COST_HEADER, [cost_cells(cost) for cost in board.costs]), ""]
        lines += [f"- {note}" for note in board.notes] + [""] * bool(board.notes)
    lines.append(SPREAD)
    return "\n".join(lines) + "\n"


def _markdown(titles: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(titles) - 1)]
    return ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in (titles, rule, *rows)]


def as_csv(boards: Sequence[Board]) -> str:
    """For further work: a line per method and number, fractions with every digit."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["board", "table", "method", "is_baseline", "key", "runs", "mean", "deviation"])
    for board in boards:
        for plate in board.plates:
            for row in plate.rows:
                for cell in row.cells:
                    if cell.measure is not None:
                        place = [safe_cell(board.title), plate.title, safe_cell(row.name), int(row.is_baseline)]
                        writer.writerow([*place, cell.key, len(row.runs), *cell.measure])
        for cost in board.costs:
            if cost.hours is not None:
                place = [safe_cell(board.title), "Cost", safe_cell(cost.name), 0]
                writer.writerow([*place, "hours", len(cost.seeds), *cost.hours])
    return stream.getvalue()


def as_latex(boards: Sequence[Board]) -> str:
    """For a paper: a `tabular` per table, with booktabs' rules; the best of each column bold."""
    blocks = []
    for board in boards:
        for plate in board.plates:
            lines = [
                f"% {board.title}: {plate.title}. Needs \\usepackage{{booktabs}}.",
                rf"\begin{{tabular}}{{l{'r' * len(plate.columns)}}}",
                r"\toprule",
            ]
            lines.append(" & ".join(["method", *(_latex(column.title) for column in plate.columns)]) + r" \\")
            lines.append(r"\midrule")
            for number, (row, columns) in enumerate(zip(plate.rows, best(plate), strict=True)):
                if row.is_baseline and number and not plate.rows[number - 1].is_baseline:
                    lines.append(r"\midrule")
                texts = [_number(written(cell.spec, cell.measure)) for cell in row.cells]
                texts = [rf"\textbf{{{text}}}" if i in columns else text for i, text in enumerate(texts)]
                lines.append(" & ".join([_latex(row.name), *texts]) + r" \\")
            blocks.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    return "\n\n".join(blocks) + "\n"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _number(text: str) -> str:
    """A number with its deviation: `28.40 $\\pm$ 0.31`; per cent are understood."""
    return re.sub(r"\s*%$", "", text).replace("±", r"$\pm$").replace(ABSENT, "--")
