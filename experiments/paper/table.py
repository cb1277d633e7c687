"""What a table of the paper is made of: runs, the rows that show their numbers, and the claims that compare rows."""

from __future__ import annotations

from typing import NamedTuple


class Run(NamedTuple):
    """One training or evaluation, done once for each of its seeds."""

    name: str
    """Of its folder, in which each seed has one."""
    options: tuple[str, ...]
    """As the command has them: `experiment=paper/imagenette/googlenet_gap`."""
    entry: str = "train"
    """Or `evaluate`."""
    of: str = ""
    """The run whose checkpoints are evaluated, with the same seeds; empty: the backbone's own weights."""
    weights: str = ""
    """What its weights are called on the command line, `--weights googlenet=FILE`; empty: it needs none."""
    hours: float = 0.0
    """What a seed takes, estimated: CPU hours of the miniature, GPU hours at full size."""


class Row(NamedTuple):
    """A line of the page: one arm of a run. Errors of the paper in per cent, top-1 and top-5; None: it has none."""

    name: str
    title: str
    run: str
    arm: str = ""
    """As in the results' keys: `top5_heuristic`; empty: the run's own map and box."""
    classification: tuple[float, float] | None = None
    localization: tuple[float | None, float] | None = None


class Claim(NamedTuple):
    """That one row's error lies below another's, or that it lies at most `margin` above it."""

    text: str
    lower: str
    """A row's name."""
    higher: str
    metric: str = "gt_known_error"
    """A key of the results, below the split."""
    margin: float = 0.0
    """In points of per cent."""


class Table(NamedTuple):
    """What `python -m experiments.paper NAME` runs and writes."""

    name: str
    title: str
    about: str
    """What is shown, by which rule, and how it compares with the paper's numbers."""
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()

    def run(self, name: str) -> Run:
        """The run of this name."""
        return next(run for run in self.runs if run.name == name)

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)
