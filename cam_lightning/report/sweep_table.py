"""Several runs as one table: a row per configuration, its mean and deviation over seeds, the best first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple, TypeGuard

from cam_lightning.contracts import Spec
from cam_lightning.report.number import ABSENT, said_over_runs
from cam_lightning.report.parameter import differing_keys, parameters_of, telling_keys
from cam_lightning.report.run_record import RunRecord
from cam_lightning.report.split_results import in_order, spec_of, split_of
from cam_lightning.run.choice import nearest

_FEW = 4
"""How many numbers are shown where none of them is a headline."""


class Measure(NamedTuple):
    """One result over the seeds of a configuration."""

    mean: float
    deviation: float | None
    """Sample standard deviation; None for one run."""


class Row(NamedTuple):
    """One configuration."""

    parameters: list[str]
    measures: dict[str, Measure]
    finished: list[RunRecord]
    unfinished: list[RunRecord]


class Unfinished(NamedTuple):
    """A run without results, or whose results cannot be read."""

    name: str
    state: str
    reason: str
    """The last line of its traceback, what is wrong with its results, or when a running one was last heard of; empty
    where there is none of these."""


class SweepTable(NamedTuple):
    """What the formats show."""

    parameters: list[str]
    """Names of the parameters that differ between the runs."""
    keys: list[str]
    specs: dict[str, Spec]
    """What each number of any run is."""
    by: str
    """The result that orders the rows; empty where no run has one."""
    rows: list[Row]
    unfinished: list[Unfinished]
    notes: list[str]


def sweep_table(records: list[RunRecord], by: str | None = None, keys: list[str] | None = None) -> SweepTable:
    """Groups runs that differ in nothing but their seed, and orders the groups by the mean of `by`.

    `keys` are the results shown: the headlines where nothing is asked for, the first of which then orders. A key that
    results do not have is looked up in `metrics.csv`, last value (`val/…`). Raises ValueError for a key that no run
    has.
    """
    finished = [record for record in records if record.status.get("state") == "finished" and not _is_lost(record)]
    specs = {key: spec for record in finished for key, spec in record.specs.items()}
    values = {record.path: known_values(record) for record in finished}
    known = dict.fromkeys(key for of_run in values.values() for key in of_run)
    for key in filter(None, [by, *(keys or [])]):
        if finished and key not in known:
            raise ValueError(f"no run has the result {key}; there is: {nearest(key, known, _headlines(known, specs))}")
    shown = list(keys or _headlines(known, specs))
    by = by or next(iter(shown), "")
    if by in known and by not in shown:
        shown.insert(0, by)
    names, groups = _groups(records)
    rows = [_row(parameters, group, values, shown) for parameters, group in groups]
    rows.sort(key=lambda row: _rank(row, by, spec_of(by, specs)))
    notes = [note for row in rows for note in (*_repeated_seeds(row, names), *_missing_values(row, names, values))]
    notes += [f"damaged: {record.path.name}: {what}" for record in finished for what in _damage(record)]
    unfinished = [_unfinished(record) for record in records if record not in finished]
    return SweepTable(names, shown, specs, by, rows, unfinished, notes)


def known_values(record: RunRecord) -> dict[str, float]:
    """Every finite number of a run by key: its results, and the last value of what it logged in training."""
    known = (record.last_values | record.numbers).items()
    return {key: value for key, value in known if is_number(value)}


def _headlines(known: Iterable[str], specs: dict[str, Spec]) -> list[str]:
    """The run's own headlines in their order, of the test where there is one; without headlines, the first numbers."""
    own = []
    for key in in_order(dict.fromkeys(known), specs):
        spec = spec_of(key, specs)
        if not spec.arm and not spec.of and spec.kind != "count":
            own.append(key)
    splits = {split_of(key) for key in own}
    split = next((split for split in ("test", "", "val") if split in splits), "train")
    of_split = [key for key in own if split_of(key) == split]
    return [key for key in of_split if spec_of(key, specs).headline is not None] or of_split[:_FEW]


def _is_lost(record: RunRecord) -> bool:
    """Whether a run's numbers cannot be relied on: they, or what they are, or what they were made with, are damaged."""
    return not record.damage.keys().isdisjoint(("results.json", "specs.json", "config.yaml", "status.json"))


def _damage(record: RunRecord) -> list[str]:
    return [f"{file}: {what}" for file, what in record.damage.items()]


def _rank(row: Row, by: str, spec: Spec) -> tuple[bool, float]:
    measure = row.measures.get(by)
    if measure is None or not math.isfinite(measure.mean):
        return (True, 0.0)
    return (False, -measure.mean if spec.better == "higher" else measure.mean)


def measured(values: Iterable[float | None]) -> Measure | None:
    """Mean and sample standard deviation of those that are finite numbers; None of nothing."""
    known = [value for value in values if is_number(value)]
    return Measure(mean(known), stdev(known) if len(known) > 1 else None) if known else None


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether a run came to a finite number."""
    return value is not None and math.isfinite(value)


def _row(parameters: list[str], group: list[RunRecord], values: dict[Path, dict[str, Any]], keys: list[str]) -> Row:
    finished = [record for record in group if record.path in values]
    measures = {}
    for key in keys:
        measure = measured(values[record.path].get(key) for record in finished)
        if measure is not None:
            measures[key] = measure
    return Row(parameters, measures, finished, [record for record in group if record not in finished])


def _repeated_seeds(row: Row, names: list[str]) -> list[str]:
    """A seed that was run twice tells nothing about other seeds, but makes the deviation smaller."""
    counts = Counter(record.config.get("seed") for record in row.finished)
    return [
        f"seed {seed} was run {count} times{_where(row, names)}: the deviation is not over seeds alone"
        for seed, count in counts.items()
        if count > 1
    ]


def _missing_values(row: Row, names: list[str], values: dict[Path, dict[str, Any]]) -> list[str]:
    """A mean over fewer runs than the row says it has, as where one of them came to no finite number."""
    counts = {key: sum(key in values[record.path] for record in row.finished) for key in row.measures}
    return [
        fewer_values(key, count, len(row.finished), _where(row, names))
        for key, count in counts.items()
        if count < len(row.finished)
    ]


def fewer_values(what: str, count: int, of: int, where: str = "") -> str:
    """The note below a table that has a mean over `count` of a row's `of` runs."""
    return f"{what} is of {count} of {of} runs{where}: the others have no such number"


def _where(row: Row, names: list[str]) -> str:
    where = ", ".join(f"{name} {value}" for name, value in zip(names, row.parameters, strict=True))
    return f" with {where}" if where else ""


def _unfinished(record: RunRecord) -> Unfinished:
    if record.damage:
        return Unfinished(record.path.name, "damaged", "; ".join(_damage(record)))
    state = str(record.status.get("state", "unknown"))
    traceback = str(record.status.get("traceback") or record.status.get("error", "")).strip()
    reason = traceback.rpartition("\n")[2].strip()
    numbers = record.path / "metrics.csv"
    if state == "running" and numbers.is_file():
        # One that was killed could not say so.
        reason = f"its last number is of {datetime.fromtimestamp(numbers.stat().st_mtime):%Y-%m-%d, %H:%M}"
    return Unfinished(record.path.name, state, reason)


def _groups(records: list[RunRecord]) -> tuple[list[str], list[tuple[list[str], list[RunRecord]]]]:
    """The parameters shown, and the runs that differ in none at all, with what is shown of them.

    Runs that never began have no parameters, and are in no group.
    """
    parameters = parameters_of(records)
    differing = differing_keys(list(parameters.values()))
    shown = telling_keys(differing, list(parameters.values()))
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        if record.path in parameters:
            of_run = parameters[record.path]
            # Exact, and of every key: two configurations that merely look alike have no mean.
            groups.setdefault(tuple(repr(of_run.get(key, ABSENT)) for key in differing), []).append(record)
    columns = [_readable([parameters[runs[0].path].get(key, ABSENT) for runs in groups.values()]) for key in shown]
    return [key.removesuffix("._target_") for key in shown], [
        ([column[row] for column in columns], runs) for row, runs in enumerate(groups.values())
    ]


def _readable(values: list[Any]) -> list[str]:
    """A column: targets by their own names and short numbers, unless two values that differ would read alike."""
    short = [_short(value) for value in values]
    return short if len(set(short)) == len({repr(value) for value in values}) else [str(value) for value in values]


def _short(value: Any) -> str:
    if isinstance(value, str) and value.startswith("cam_lightning."):
        return value.rpartition(".")[2]
    return f"{value:g}" if isinstance(value, float) else str(value)


def written(spec: Spec, measure: Measure | None) -> str:
    """`28.40 ± 0.31 %`."""
    return ABSENT if measure is None else said_over_runs(spec, measure.mean, measure.deviation)
