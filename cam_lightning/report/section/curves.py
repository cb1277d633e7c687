"""Every number that the run logged more than at its end, over its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cam_lightning.contracts import Spec
from cam_lightning.report.chart import LineChart, Series, line_chart
from cam_lightning.report.number import in_words, said, tick
from cam_lightning.report.page import RunPage
from cam_lightning.report.run_record import Point
from cam_lightning.report.split_results import in_order, name_of, spec_of, split_of

PLACE = 20
ANCHOR = "curves"
NAME = "Curves"
TITLE = "Learning curves"
FILES = ("metrics.csv",)

Curves = Mapping[str, list[Point]]
_MOST_LINES = 6


def content(page: RunPage) -> dict[str, Any] | None:
    """The charts; nothing where nothing was logged before the test."""
    charts = learning_curves(page.record.curves, page.record.specs)
    return {"charts": charts} if charts else None


def learning_curves(curves: Curves, specs: Mapping[str, Spec]) -> list[LineChart]:
    """One chart per family of numbers, training and validation together; baselines as dashed lines.

    Counts and what says something of another number have no line: a threshold is no error, and another threshold's
    error would say the same once more. Of other arms, the line of their family's first headline is drawn.
    """
    families: dict[str, list[str]] = {}
    for key in in_order(curves, specs):
        spec = spec_of(key, specs)
        if split_of(key) == "test" or spec.kind == "count" or spec.of in curves:
            continue
        families.setdefault(spec.family or spec.title, []).append(key)
    last_step = max((point.step for points in curves.values() for point in points), default=0)
    # What training itself logs comes first, and of that what is no headline: the loss.
    order = sorted(families, key=lambda family: _rank(families[family], specs))
    return [chart for family in order if (chart := _chart(family, families[family], curves, specs, last_step))]


def _rank(keys: list[str], specs: Mapping[str, Spec]) -> tuple[bool, bool]:
    is_trained = any(split_of(key) == "train" for key in keys)
    return (not is_trained, is_trained and any(spec_of(key, specs).headline is not None for key in keys))


def _chart(family: str, keys: list[str], curves: Curves, specs: Mapping[str, Spec], last_step: int) -> LineChart | None:
    own = [key for key in keys if not spec_of(key, specs).arm]
    # Validation before training: the first lines have the clearest colours.
    own.sort(key=lambda key: split_of(key) != "val")
    first = next((name_of(key, specs) for key in own if spec_of(key, specs).headline is not None), None)
    beside = [key for key in keys if spec_of(key, specs).arm and name_of(key, specs) == first]
    beside.sort(key=lambda key: spec_of(key, specs).is_baseline)
    shown = own[:_MOST_LINES] + beside
    if not shown:
        return None
    series = [_series(key, curves[key], spec_of(key, specs), family) for key in shown]
    spec = spec_of(shown[0], specs)
    values = [y for one in series for _, y in one.points]
    left_out = len(own) - _MOST_LINES
    return line_chart(
        in_words(family),
        series,
        "step",
        lambda value: tick(spec, value),
        x_range=(0, last_step),
        y_range=(0, max(values)) if spec.kind == "share" else (min(values), max(values)),
        note=f"{left_out} more in metrics.csv" if left_out > 0 else spec.unit,
    )


def _series(key: str, points: list[Point], spec: Spec, family: str) -> Series:
    if spec.arm:
        name = spec.arm.removeprefix("baseline/").replace("_", " ")
    else:
        name = spec.label or ("" if spec.title == family else spec.title)
    return Series(
        " ".join(filter(None, (split_of(key), name))) or in_words(family),
        [(point.step, point.value) for point in points],
        [f"step {p.step:,}{f', epoch {p.epoch}' if p.epoch else ''}: {said(spec, p.value)}" for p in points],
        said(spec, points[-1].value),
        spec.is_baseline,
    )
