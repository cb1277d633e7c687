"""The numbers of the run, beside those of other maps and of boxes that see nothing."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from cam_lightning.report.page import RunPage
from cam_lightning.report.split_results import SplitResults

PLACE = 10
ANCHOR = "results"
NAME = TITLE = "Results"
FILES = ("results.json", "specs.json", "times.json")
MOST_ARMS = 6
"""Beside each other; more of them are rows, since a page is longer than it is wide."""
MOST_NUMBERS = 8
"""Beside each other where the arms are rows; the rest has a table below."""


class ResultRow(NamedTuple):
    """One number as text: this run's value, then every other arm's; `best` are the columns of the best."""

    title: str
    variant: str
    """What sets it apart from the row above it that it is a variant of; empty where it stands for itself."""
    better: Literal["lower", "higher"] | None
    cells: list[str]
    best: set[int]


class ResultTable(NamedTuple):
    """A split's numbers; `columns` are this run and the arms beside it."""

    columns: list[str]
    rows: list[ResultRow]
    has_baseline: bool


class TurnedTable(NamedTuple):
    """Numbers of many arms: an arm per row, a number per column."""

    columns: list[ResultRow]
    """What each column says."""
    rows: list[tuple[str, list[tuple[str, bool]]]]
    """(arm, its cells with whether each is the best of its column)."""


def content(page: RunPage) -> dict[str, Any] | None:
    """The table and how its numbers were made; nothing where no number is known."""
    table = result_table(page.results)
    if not table.rows:
        return None
    alone, turned = turned_tables(table) if len(table.columns) > MOST_ARMS else ([], [])
    made = page.record.results | page.record.times
    protocol = {key: value for key, value in made.items() if key.startswith("protocol/")}
    return {
        "table": table,
        "alone": alone,
        "turned": turned,
        "counted": page.results.counted(),
        "protocol": {key.partition("/")[2]: value for key, value in protocol.items()},
    }


def result_table(results: SplitResults) -> ResultTable:
    """Every number of a split beside those of the arms that it was counted for, the best of each row marked."""
    arms = results.arms
    rows = [_row(results, name) for name in results.names]
    columns = ["this run", *(arm.removeprefix("baseline/").replace("_", " ") for arm in arms[1:])]
    return ResultTable(columns, rows, any(arm.startswith("baseline/") for arm in arms))


def turned_tables(table: ResultTable) -> tuple[list[ResultRow], list[TurnedTable]]:
    """The numbers that only the run itself has, and tables of all others with an arm per row, as few as are readable.

    Variants stay in the table of what they vary.
    """
    groups: list[list[ResultRow]] = []
    for row in table.rows:
        if row.variant and groups:
            groups[-1].append(row)
        else:
            groups.append([row])
    alone: list[ResultRow] = []
    tables: list[list[ResultRow]] = []
    for group in groups:
        if not any(cell for row in group for cell in row.cells[1:]):
            alone += group
        elif tables and len(tables[-1]) + len(group) <= MOST_NUMBERS:
            tables[-1] += group
        else:
            tables.append(list(group))
    return alone, [_turned(table.columns, rows) for rows in tables]


def _turned(arms: list[str], columns: list[ResultRow]) -> TurnedTable:
    rows = [(arm, [(row.cells[i], i in row.best) for row in columns]) for i, arm in enumerate(arms)]
    return TurnedTable(columns, [(arm, cells) for arm, cells in rows if any(text for text, _ in cells)])


def _row(results: SplitResults, name: str) -> ResultRow:
    spec = results.spec(name)
    entries = [results.entry(name, arm) for arm in results.arms]
    known = {i: entry.value for i, entry in enumerate(entries) if entry is not None and entry.value is not None}
    best: set[int] = set()
    if len(known) > 1 and spec.better is not None:
        optimum = (min if spec.better == "lower" else max)(known.values())
        best = {i for i, value in known.items() if value == optimum}
        # Where all are alike none is better.
        best = best if len(best) < len(known) else set()
    return ResultRow(
        spec.title,
        results.varies(name),
        spec.better,
        [results.cell(name, arm) for arm in results.arms],
        best,
    )
