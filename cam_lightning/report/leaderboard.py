"""Any runs as a leaderboard: methods by the threshold's choice, by metric, by the object's size, and by cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import Any, NamedTuple

from cam_lightning.contracts import Spec
from cam_lightning.report.chart import LineChart, Series, line_chart, percent
from cam_lightning.report.number import in_words, said
from cam_lightning.report.parameter import by_its_training
from cam_lightning.report.run_cost import device, hours
from cam_lightning.report.run_record import RunRecord, read_threshold_curves
from cam_lightning.report.same_test import baselines_by_size, by_test_images
from cam_lightning.report.split_results import in_order, spec_of, split_of
from cam_lightning.report.sweep_table import Measure, Row, SweepTable, fewer_values, is_number, measured, sweep_table

RULES = {"": "fixed", "@selected": "selected", "@label_free": "label-free", "@oracle": "oracle"}
"""Ways of choosing a threshold that have a column each: the suffix of a key, and the column's title."""
FEW_SHOT = "FewShot"
"""The method that has seen boxes in training: a line of its own on the chart."""
KNOWN = "test/gt_known_error"
_FIRST_NAMES = ("method", "backbone", "cam", "box", "box.normalise", "backbone.pool")


class Cell(NamedTuple):
    """One number of one row; None where its runs have none."""

    key: str
    spec: Spec
    measure: Measure | None


class Column(NamedTuple):
    """A number's key, and what stands above it."""

    key: str
    title: str


class Standing(NamedTuple):
    """A method, one by a further map or box of the same runs, or a box that sees nothing."""

    name: str
    is_baseline: bool
    runs: list[RunRecord]
    cells: list[Cell]


class Plate(NamedTuple):
    """One table: rows over columns, the best first."""

    title: str
    note: str
    columns: list[Column]
    rows: list[Standing]


class Cost(NamedTuple):
    """What the runs of a method took."""

    name: str
    seeds: list[Any]
    hours: Measure | None
    device: str
    """Each that its runs had."""


class Board(NamedTuple):
    """All runs on one test split."""

    title: str
    plates: list[Plate]
    chart: LineChart | None
    costs: list[Cost]
    notes: list[str]


def leaderboard(records: Sequence[RunRecord]) -> list[Board]:
    """A board for every set of test images among the finished runs.

    Raises ValueError where no run has a result on a test split.
    """
    tested = [
        by_its_training(record)
        for record in records
        if record.status.get("state") == "finished" and any(split_of(key) == "test" for key in record.numbers)
    ]
    if not tested:
        raise ValueError("no run has finished with results on a test split, so there is nothing to compare")
    return [_board(title, runs) for title, runs in by_test_images(tested).items()]


def _board(title: str, runs: list[RunRecord]) -> Board:
    table = sweep_table(runs)
    shown = _Shown(table)
    keys = list(shown.specs)
    own = [key for key in keys if not shown.specs[key].arm and not shown.specs[key].of and shown.specs[key].better]
    swept = [key for key in own if f"{key}@oracle" in keys]
    plates = []
    for key in swept:
        rules = [rule for rule in RULES if f"{key}{rule}" in keys]
        note = " ".join(_RULE_NOTES[rule] for rule in rules) if key == swept[0] else ""
        columns = [Column(f"{key}{rule}", RULES[rule]) for rule in rules]
        plates.append(_plate(f"{in_words(shown.specs[key].title)}, by threshold", note, columns, shown))
    families: dict[str, list[str]] = {}
    for key in own:
        if key not in swept:
            families.setdefault(shown.specs[key].family or shown.specs[key].title, []).append(key)
    few = [key for of_family in families.values() if len(of_family) < _MANY for key in of_family]
    if few:
        plates.append(_plate("Further metrics", "", [Column(key, shown.specs[key].title) for key in few], shown))
    for family, of_family in families.items():
        if len(of_family) >= _MANY:
            columns = [Column(key, shown.specs[key].label or shown.specs[key].title) for key in of_family]
            plates.append(_plate(in_words(family), "", columns, shown))
    costs = [_cost(name, row) for name, row in zip(shown.names, shown.rows, strict=True)]
    notes = [*table.notes, *_missing_values(plates, table), *_differences(table, shown)]
    return Board(title, plates, threshold_chart(shown), costs, notes)


_MANY = 3
"""So many numbers of one family have a table of their own."""
_SHOWN_VALUES = 4
"""So many values of a parameter are said of it."""
_RULE_NOTES = {
    "": "Fixed: the run's own threshold, chosen beforehand.",
    "@selected": "Selected: the best of the validation split by its boxes.",
    "@label_free": "Label-free: chosen on the validation split without any box.",
    "@oracle": "Oracle: the best of the test split itself, known to nobody beforehand.",
}


class _Shown:
    """The finished rows of a table, what tells them apart, and what their test's numbers are, in order."""

    def __init__(self, table: SweepTable) -> None:
        self.rows = [row for row in table.rows if row.finished]
        self.names, self.named = row_names(table, self.rows)
        self.runs = [run for row in self.rows for run in row.finished]
        specs = {key: spec for run in self.runs for key, spec in run.specs.items()}
        keys = dict.fromkeys(key for run in self.runs for key in run.numbers if split_of(key) == "test")
        self.specs = {key: spec_of(key, specs) for key in in_order(keys, specs)}
        arms = dict.fromkeys(spec.arm for spec in self.specs.values() if spec.is_baseline)
        self.baselines = list(baselines_by_size(self.runs, arms))
        """Boxes that see nothing: name, arm and runs of each."""
        further = (spec.arm for spec in self.specs.values() if spec.arm and not spec.is_baseline)
        self.arms = ["", *dict.fromkeys(further)]
        """The runs' own, which has no name, and those by further maps and boxes."""


def row_names(table: SweepTable, rows: Sequence[Row]) -> tuple[list[str], set[str]]:
    """What tells the rows apart in as few of their parameters as possible: the method first, then other parts.

    And these parameters.
    """
    order = sorted(table.parameters, key=lambda name: (_place(name), "." in name, table.parameters.index(name)))
    named = [_method(row.finished[0]) for row in rows]
    told = {"method", "method.network_part"}
    for parameter in order:
        if len(set(named)) == len(rows):
            break
        column = [row.parameters[table.parameters.index(parameter)] for row in rows]
        if _place(parameter) == len(_FIRST_NAMES):
            column = [f"{parameter} {value}" for value in column]
        further = [", ".join(pair) for pair in zip(named, column, strict=True)]
        if parameter != "method" and len(set(further)) > len(set(named)):
            named = further
            told.add(parameter)
    return named, told


def _missing_values(plates: Iterable[Plate], table: SweepTable) -> list[str]:
    """A line for every mean over fewer runs than its row has, of which the sweep's table says nothing.

    Boxes that see nothing are of the runs of all methods.
    """
    return [
        fewer_values(f"{standing.name}: {cell.key}", count, len(standing.runs))
        for plate in plates
        for standing in plate.rows
        for cell in standing.cells
        if not standing.is_baseline
        and cell.key not in table.keys
        and 0 < (count := sum(is_number(run.numbers.get(cell.key)) for run in standing.runs)) < len(standing.runs)
    ]


def _differences(table: SweepTable, shown: _Shown) -> list[str]:
    """In a line, the parameters that the rows' names do not say though they differ: a threshold, a dataset's root."""
    said = []
    for number, parameter in enumerate(table.parameters):
        values = list(dict.fromkeys(row.parameters[number] for row in shown.rows))
        if len(values) > 1 and parameter not in shown.named:
            more = ", …" if len(values) > _SHOWN_VALUES else ""
            said.append(f"{parameter} ({', '.join(values[:_SHOWN_VALUES])}{more})")
    return [f"The rows differ in more than their names say: {'; '.join(said)}"] if said else []


def _method(run: RunRecord) -> str:
    """`HideAndSeek`; of one that is plain classification of a changed network, what changes that: `Adl`."""
    method = run.config.get("method") or {}
    target = str(method.get("_target_", "run"))
    part = str((method.get("network_part") or {}).get("_target_", target))
    if part.rpartition(".")[0] == target.rpartition(".")[0]:
        return target.rpartition(".")[2]
    return "".join(word.capitalize() for word in part.split(".")[-2].split("_"))


def _place(parameter: str) -> int:
    return _FIRST_NAMES.index(parameter) if parameter in _FIRST_NAMES else len(_FIRST_NAMES)


def _plate(title: str, note: str, columns: list[Column], shown: _Shown) -> Plate:
    rows = []
    for name, row in zip(shown.names, shown.rows, strict=True):
        for arm in shown.arms:
            cells = _cells(columns, arm, row.finished, shown)
            if not arm or any(cell.measure for cell in cells):
                rows.append(Standing(f"{name}, {arm}" if arm else name, False, row.finished, cells))
    rows.sort(key=_rank(columns))
    for name, arm, runs in shown.baselines:
        cells = _cells(columns, arm, runs, shown)
        if any(cell.measure for cell in cells):
            rows.append(Standing(name, True, runs, cells))
    return Plate(title, note, columns, rows)


def _cells(columns: list[Column], arm: str, runs: list[RunRecord], shown: _Shown) -> list[Cell]:
    keys = [(_of_arm(column.key, arm), shown.specs[column.key]) for column in columns]
    return [Cell(key, spec, measured(run.numbers.get(key) for run in runs)) for key, spec in keys]


def _of_arm(key: str, arm: str) -> str:
    split = split_of(key)
    return f"{split}/{arm}/{key.removeprefix(f'{split}/')}" if arm else key


def _rank(columns: list[Column]) -> Callable[[Standing], tuple[bool, float]]:
    """By the column that a validation's boxes chose the threshold of; where there is none, by the first."""
    by = next((number for number, column in enumerate(columns) if column.key.endswith("@selected")), 0)

    def rank(standing: Standing) -> tuple[bool, float]:
        found = standing.cells[by]
        if found.measure is None:
            return (True, 0.0)
        return (False, -found.measure.mean if found.spec.better == "higher" else found.measure.mean)

    return rank


def _cost(name: str, row: Row) -> Cost:
    seeds = sorted((run.config.get("seed") for run in row.finished), key=repr)
    devices = dict.fromkeys(filter(None, map(device, row.finished)))
    return Cost(name, seeds, measured(hours(run) for run in row.finished), " and ".join(devices))


def threshold_chart(shown: _Shown) -> LineChart | None:
    """GT-known error over the threshold, a line for each method; dashed, boxes that see nothing, and few-shot's best.

    A method's line is the mean over its seeds at the thresholds that all of them have. None where no run has a curve.
    """
    spec = spec_of(KNOWN, shown.specs)
    lines, levels = [], []
    for name, row in zip(shown.names, shown.rows, strict=True):
        points = _mean_curve(row.finished)
        if not points:
            continue
        threshold, lowest = min(points, key=lambda point: point[1])
        if _is_few_shot(row.finished[0]):
            levels.append((f"{name}, trained on boxes", lowest))
        else:
            lines.append(Series(name, points, [""] * len(points), f"{said(spec, lowest)} at {threshold:g}"))
    if not lines and not levels:
        return None
    for name, arm, runs in shown.baselines:
        level = measured(run.numbers.get(_of_arm(KNOWN, arm)) for run in runs)
        if level is not None:
            levels.append((name, level.mean))
    lines += [Series(name, [(0.0, y), (1.0, y)], ["", ""], said(spec, y), is_baseline=True) for name, y in levels]
    return line_chart(
        "GT-known error over thresholds", lines, "threshold on the map", percent, (0, 1), (0, 1),
        note="the best of each; mean over seeds",
    )  # fmt: skip


def _mean_curve(runs: Sequence[RunRecord]) -> list[tuple[float, float]]:
    of_runs = []
    for run in runs:
        curves = read_threshold_curves(run.path, "test")
        if "gt_known_error" in curves:
            of_runs.append(dict(zip(curves["threshold"], curves["gt_known_error"], strict=True)))
    shared = set.intersection(*(set(curve) for curve in of_runs)) if of_runs else set()
    return [(threshold, mean(curve[threshold] for curve in of_runs)) for threshold in sorted(shared)]


def _is_few_shot(run: RunRecord) -> bool:
    return str((run.config.get("method") or {}).get("_target_", "")).endswith(f".{FEW_SHOT}")
