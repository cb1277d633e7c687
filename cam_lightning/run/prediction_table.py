"""`predictions.csv`: the one place that knows its columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cam_lightning.run.file import json_text, write_text
from cam_lightning.run.spreadsheet import original_text, safe_cell


class Prediction(NamedTuple):
    """One image, as a row: boxes are xyxy, half-open, in the original's pixels. What a reader did not ask for is empty.

    Classes are told apart by number: two of ImageNet's share a name, twice over.
    """

    id: str
    label: int = -1
    label_name: str = ""
    width: int = 0
    height: int = 0
    truth_boxes: Sequence[Sequence[float]] = ()
    classes: Sequence[int] = ()
    """The ranked ones, the best first; so are `names`, `class_ids` (the dataset's own names) and `probabilities`."""
    names: Sequence[str] = ()
    class_ids: Sequence[str] = ()
    probabilities: Sequence[float | None] = ()
    """None for a number that was not finite."""
    boxes: Sequence[Sequence[float]] = ()
    """Of the guesses, the best first; so are `ranks` and `ious`."""
    ranks: Sequence[int] = ()
    """Of each guess, the place of its class among `classes`."""
    ious: Sequence[float] = ()
    """With the best ground-truth box; none where no box is known. Not rounded: it says hit or miss as metrics do."""
    gt_known_box: Sequence[float] = ()
    gt_known_iou: float | None = None

    @property
    def is_right(self) -> bool:
        """Whether the most probable class is the true one."""
        return self.classes[0] == self.label

    def best_iou(self, k: int) -> float:
        """The best IoU among the first k guesses that are of the true class; -1 where none is."""
        guesses = zip(self.ranks[:k], self.ious, strict=False)
        return max((iou for rank, iou in guesses if self.classes[rank] == self.label), default=-1.0)


COLUMNS = Prediction._fields
_TEXTS = ("id", "label_name")
_NUMBERS: dict[str, Callable[[str], Any]] = {
    "label": int,
    "width": int,
    "height": int,
    "gt_known_iou": lambda cell: float(cell) if cell else None,
}
"""Columns that are neither text nor a JSON list, and how their cells are read."""


def table_file(run_dir: Path, split: str) -> Path:
    """Where a run keeps the predictions of a split."""
    return run_dir / ("predictions.csv" if split == "test" else f"predictions_{split}.csv")


def write_predictions(path: Path, rows: Iterable[Prediction]) -> None:
    """The table, whole or not at all; texts that a spreadsheet would compute are made safe (`run/spreadsheet.py`)."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(name, value) for name, value in zip(COLUMNS, row, strict=True)] for row in rows)
    write_text(path, stream.getvalue())


def read_predictions(path: Path, columns: Sequence[str] = COLUMNS) -> Iterator[Prediction]:
    """Row by row, of the columns that are asked for.

    Raises ValueError, with file and row, where a column is missing or a cell is not what its column holds; OSError
    where there is no such file.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        try:
            absent = [name for name in columns if name not in (reader.fieldnames or ())]
            if absent:
                raise ValueError(f"{path} has no column {absent[0]!r}: it is not a run's predictions")
            for number, row in enumerate(reader, start=1):
                yield Prediction(**{name: _value(name, row[name], f"{path}, row {number}") for name in columns})
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _cell(name: str, value: Any) -> Any:
    if name in _TEXTS:
        return safe_cell(value)
    if name in _NUMBERS:
        return "" if value is None else value
    return json_text(list(value))


def _value(name: str, cell: str | None, place: str) -> Any:
    if cell is None:
        raise ValueError(f"{place} ends before its column {name!r}")
    if name in _TEXTS:
        return original_text(cell)
    try:
        value = _NUMBERS[name](cell) if name in _NUMBERS else json.loads(cell)
    except ValueError as error:
        raise ValueError(f"{place}: {name!r} cannot be {cell[:100]!r}") from error
    if name not in _NUMBERS and not isinstance(value, list):
        raise ValueError(f"{place}: {name!r} is a list, not {cell[:100]!r}")
    return value
