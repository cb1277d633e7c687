"""The geometry of a report's charts: numbers to places on a small plate, which the template draws as SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 360, 216
"""Of the plate, in SVG units: near the pixels of a phone's column, so that text keeps its size everywhere."""
LEFT, RIGHT, TOP, BOTTOM = 40, 352, 10, 190

COLOURS = 12
"""Of lines in `report.css`; a line of more than so many has the colour of an earlier one."""

Format = Callable[[float], str]


class Tick(NamedTuple):
    """A mark on an axis."""

    position: float
    label: str


class Series(NamedTuple):
    """A line before it is drawn: (x, y) in the units of the data, and a note for each point."""

    label: str
    points: Sequence[tuple[float, float]]
    notes: Sequence[str]
    value: str
    """What the legend says beside the label."""
    is_baseline: bool = False


class Line(NamedTuple):
    """A line on the plate."""

    label: str
    value: str
    style: str
    path: str
    dots: list[tuple[float, float, str]]


class LineChart(NamedTuple):
    """Lines over two linear axes; `rule` is a vertical line at the x of special interest."""

    title: str
    note: str
    x_label: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    rule: float | None


class Bar(NamedTuple):
    """One bin: where it stands, and the heights of its parts, from the bottom up."""

    x: float
    width: float
    parts: list[tuple[float, float, str]]
    """(y, height, style) of each part."""
    note: str


class Histogram(NamedTuple):
    """Stacked bars over a linear axis."""

    title: str
    note: str
    x_label: str
    bars: list[Bar]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    rule: float


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_format: Format,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    note: str = "",
    rule: float | None = None,
) -> LineChart:
    """A chart of series of at least one point each; `x_range` is widened to hold them, `y_range` to round numbers."""
    places_x = [x for one in series for x, _ in one.points]
    x_range = (min([x_range[0], *places_x]), max([x_range[1], *places_x]))
    y_values = round_numbers(*y_range, 5, outside=True)
    to_x, to_y = _scale(*x_range, LEFT, RIGHT), _scale(y_values[0], y_values[-1], BOTTOM, TOP)
    lines = []
    styles = Counter[bool]()
    for one in series:
        places = [(to_x(x), to_y(y)) for x, y in one.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(places))
        with_dots = len(places) <= 30
        dots = [(round(x, 1), round(y, 1), n) for (x, y), n in zip(places, one.notes, strict=True)]
        number = styles[one.is_baseline]
        style = f"baseline dash{number}" if one.is_baseline else f"line{number % COLOURS}"
        styles[one.is_baseline] += 1
        lines.append(Line(one.label, one.value, style, path, dots if with_dots else []))
    return LineChart(
        title,
        note,
        x_label,
        lines,
        [Tick(to_x(x), f"{x:,.10g}") for x in round_numbers(*x_range, 5)],
        [Tick(to_y(y), y_format(y)) for y in y_values],
        None if rule is None else to_x(rule),
    )


def histogram(
    title: str, counts: Sequence[Sequence[int]], styles: Sequence[str], x_label: str, rule: float, note: str
) -> Histogram:
    """Bars over 0..1: `counts` holds one row per style, each with one number per bin of equal width."""
    num_bins = len(counts[0])
    totals = [sum(row[i] for row in counts) for i in range(num_bins)]
    y_values = round_numbers(0, max(1, *totals), 4, outside=True, whole=True)
    to_x, to_y = _scale(0, 1, LEFT, RIGHT), _scale(0, y_values[-1], BOTTOM, TOP)
    bars = []
    for i in range(num_bins):
        parts, below = [], 0
        for row, style in zip(counts, styles, strict=True):
            top = to_y(below + row[i])
            parts.append((round(top, 1), round(to_y(below) - top, 1), style))
            below += row[i]
        each = ", ".join(f"{row[i]:,} {style.replace('-', ' ')}" for row, style in zip(counts, styles, strict=True))
        left, right = to_x(i / num_bins), to_x((i + 1) / num_bins)
        bars.append(
            Bar(round(left + 0.75, 1), round(right - left - 1.5, 1), parts,
                f"{i / num_bins:.2f} to {(i + 1) / num_bins:.2f}: {each}")
        )  # fmt: skip
    x_ticks = [Tick(to_x(i / 5), f"{i / 5:g}") for i in range(6)]
    y_ticks = [Tick(to_y(y), f"{y:,g}") for y in y_values]
    return Histogram(title, note, x_label, bars, x_ticks, y_ticks, to_x(rule))


def round_numbers(low: float, high: float, count: int, outside: bool = False, whole: bool = False) -> list[float]:
    """About `count` numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten.

    With `outside` the first and last reach `low` and `high` or beyond; with `whole` they are integers.
    """
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * power for m in (1, 2, 5, 10, 20) if span / (m * power) <= count)
    if whole:
        step = max(1.0, step)
    # The margin forgives the rounding of the division, so that 0.3 / 0.1 counts as 3.
    first = math.floor(low / step + 1e-9) if outside else math.ceil(low / step - 1e-9)
    last = math.ceil(high / step - 1e-9) if outside else math.floor(high / step + 1e-9)
    if outside and last == first:
        last += 1
    return [round(i * step, 12) for i in range(first, last + 1)]


def percent(value: float) -> str:
    """A fraction as a tick's label."""
    return f"{100 * value:.4g}%"


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: round(first + (value - low) / span * (last - first), 2)


def _thinned(places: list[tuple[float, float]], columns: int = 320) -> list[tuple[float, float]]:
    """Of a long line the first, lowest, highest and last point of every column: it looks the same."""
    if len(places) <= 4 * columns:
        return places
    kept: list[tuple[float, float]] = []
    for start in range(0, len(places), math.ceil(len(places) / columns)):
        part = list(enumerate(places[start : start + math.ceil(len(places) / columns)]))
        by_height = sorted(part, key=lambda place: place[1][1])
        chosen = {part[0][0], by_height[0][0], by_height[-1][0], part[-1][0]}
        kept += [place for position, place in part if position in chosen]
    return kept
