"""The tables that end a run: its numbers beside those of other maps, and of boxes that see nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cam_lightning.contracts import Results
from cam_lightning.report.number import in_words
from cam_lightning.report.run_record import numbers_of, read_times, specs_of
from cam_lightning.report.split_results import SplitResults, arm_in_words


def results_table(results: Results, split: str = "test") -> Table:
    """Headlines that can be compared, of the run's own rule, its variants and every other arm; the others on top."""
    shown = _of_split(results, split)
    headlines = [name for name in shown.names if shown.spec(name).headline is not None]
    columns = [name for name in headlines if shown.spec(name).has_baseline or _is_shared(shown, name)]
    alone = _listed(shown, [name for name in headlines if name not in columns])
    title = f"{split}, {shown.counted()}" + (f": {alone}" if alone else "")
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column("box")
    for name in columns:
        table.add_column(escape(shown.spec(name).title.replace(", ", "\n", 1)), justify="right")
    if not columns:
        table.add_row("localization: not available (no boxes are known, no map, or no metric that a table shows)")
    for cells, style in _rows(shown, columns, _rule(results)):
        table.add_row(*map(escape, cells), style=style)
    return table


def further_tables(results: Results, split: str = "test") -> list[Table]:
    """Every number that is no headline and has its like: a table for each family of several, or with other arms."""
    shown = _of_split(results, split)
    return [
        _family_table(shown, family, names, results) for family, names in _families(shown) if _is_table(shown, names)
    ]


def further_line(results: Results, split: str = "test") -> str:
    """The numbers that are neither headlines nor in tables, such as the loss; empty where there are none."""
    shown = _of_split(results, split)
    return _listed(shown, [name for _, names in _families(shown) if not _is_table(shown, names) for name in names])


def print_results(results: Results, split: str = "test", run_dir: Path | None = None) -> None:
    """Prints the tables; of a split that was not evaluated (`trainer.limit_test_batches=0`), that it was not.

    With `run_dir` what its maps took too, where it has several.
    """
    console = Console()
    if run_dir is not None:
        times = read_times(run_dir)
        results = results | times | {"specs": (results.get("specs") or {}) | (times.get("specs") or {})}
    console.print()
    if not _of_split(results, split).counted():
        console.print(f"{split}: no image was evaluated")
        return
    console.print(results_table(results, split))
    for table in further_tables(results, split):
        console.print(table)
    if line := further_line(results, split):
        console.print(line, highlight=False, markup=False)


def _of_split(results: Results, split: str) -> SplitResults:
    return SplitResults(numbers_of(results), specs_of(results.get("specs") or {}), split)


def _families(shown: SplitResults) -> list[tuple[str, list[str]]]:
    """The names that are no headlines, by what shares one table."""
    families: dict[str, list[str]] = {}
    for name in shown.names:
        spec = shown.spec(name)
        if spec.headline is None and spec.role == "":
            families.setdefault(spec.family or spec.title, []).append(name)
    return list(families.items())


def _is_table(shown: SplitResults, names: list[str]) -> bool:
    return len(names) > 1 or _is_shared(shown, names[0])


def _is_shared(shown: SplitResults, name: str) -> bool:
    """Whether there is anything to compare a number with."""
    return bool(shown.variants([name])) or any(shown.entry(name, arm) for arm in shown.arms if arm)


def _rows(shown: SplitResults, columns: Sequence[str], rule: str) -> Iterator[tuple[list[str], str | None]]:
    """Every way of localizing that has one of the numbers, each followed by its variants; and how it is printed."""
    for arm in shown.arms:
        cells = [shown.cell(name, arm) for name in columns]
        if any(cells):
            yield [arm_in_words(arm) if arm else rule, *cells], None if arm else "bold"
        for label in shown.variants(list(columns), arm):
            varied = [shown.variant(name, label, arm) for name in columns]
            yield [f"{arm} … {label}".strip(), *(shown.cell(each, arm) if each else "" for each in varied)], None


def _family_table(shown: SplitResults, family: str, names: list[str], results: Results) -> Table:
    table = Table(title=escape(in_words(family)), title_justify="left", title_style="bold")
    table.add_column("box")
    for name in names:
        spec, num_images = shown.spec(name), shown.num_images(name)
        below = "" if num_images is None else f"\n{num_images:,.0f} images"
        table.add_column(escape(spec.label or spec.title) + below, justify="right")
    for cells, style in _rows(shown, names, _rule(results)):
        table.add_row(*map(escape, cells), style=style)
    return table


def _listed(shown: SplitResults, names: list[str]) -> str:
    """`classification error, top-1 12.34%, top-5 1.23%`: of one family the first alone is named in full."""
    said, before = [], None
    for name in names:
        spec = shown.spec(name)
        said.append(f"{spec.label if spec.family and spec.family == before else spec.title} {shown.cell(name)}")
        before = spec.family
    return ", ".join(said)


def _rule(results: Results) -> str:
    """How the run's own boxes were made."""
    maps = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(results.get("protocol/cam", "this run"))).lower()
    rule = str(results.get("protocol/box/rule", "box")).replace("_", " ")
    threshold = results.get("protocol/box/threshold")
    return f"{maps}, {rule}" + (f", threshold {threshold:g}" if threshold is not None else "")
