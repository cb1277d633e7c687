from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_lightning.report import chart
from cam_lightning.report.chart import BOTTOM, COLOURS, LEFT, RIGHT, TOP, Series, histogram, line_chart, round_numbers


def _line(points: list[tuple[float, float]]) -> Series:
    return Series("a", points, ["note"] * len(points), "1")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.3, [0, 0.1, 0.2, 0.3]),
        (7, 7, [6, 8]),
        (0.55, 2.6, [0.5, 1, 1.5, 2, 2.5, 3]),
    ],
)
def test_round_numbers_enclose_the_range(low: float, high: float, expected: list[float]) -> None:
    assert round_numbers(low, high, 5, outside=True) == expected


@given(
    low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6), count=st.integers(2, 8), outside=st.booleans()
)  # fmt: skip
def test_round_numbers_are_few_even_and_in_order(low: float, span: float, count: int, outside: bool) -> None:
    numbers = round_numbers(low, low + span, count, outside)
    assert len(numbers) <= count + 2
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    assert all(step > 0 and math.isclose(step, steps[0], rel_tol=1e-6) for step in steps)
    slack = 1e-6 * span + 1e-9
    if outside:
        assert numbers[0] <= low + slack
        assert numbers[-1] >= low + span - slack
    else:
        assert all(low - slack <= number <= low + span + slack for number in numbers)


def test_points_stand_where_their_numbers_say() -> None:
    chart = line_chart("t", [_line([(0, 0), (50, 0.5), (100, 1)])], "step", str, (0, 100), (0, 1))
    middle = ((LEFT + RIGHT) / 2, (BOTTOM + TOP) / 2)
    assert [dot[:2] for dot in chart.lines[0].dots] == [(LEFT, BOTTOM), middle, (RIGHT, TOP)]
    assert [tick.position for tick in chart.x_ticks][:2] == [LEFT, LEFT + 0.2 * (RIGHT - LEFT)]


def test_a_long_line_keeps_its_peaks_and_ends() -> None:
    """One spike among a hundred thousand points must be seen; drawing all of them would be megabytes."""
    points = [(float(x), 0.5) for x in range(100_000)]
    points[61_234] = (61_234.0, 1.0)
    points[61_240] = (61_240.0, 0.0)
    chart = line_chart("t", [_line(points)], "step", str, (0, 99_999), (0, 1))
    drawn = [tuple(map(float, pair.split(","))) for pair in chart.lines[0].path.split()]
    assert len(drawn) < 2_000
    heights = [y for _, y in drawn]
    assert min(heights) == TOP
    assert max(heights) == BOTTOM
    assert (drawn[0][0], drawn[-1][0]) == (LEFT, RIGHT)
    assert [x for x, _ in drawn] == sorted(x for x, _ in drawn)


def test_bars_are_stacked_in_proportion() -> None:
    chart = histogram("t", [[2, 0], [1, 4]], ["class-right", "class-wrong"], "IoU", 0.5, "")
    (low, high), (empty, full) = (bar.parts for bar in chart.bars)
    unit = full[1] / 4
    assert low[1] == pytest.approx(2 * unit, abs=0.1)
    assert high[1] == pytest.approx(unit, abs=0.1)
    assert high[0] + high[1] == pytest.approx(low[0], abs=0.11)
    assert empty[1] == 0
    assert chart.bars[1].note == "0.50 to 1.00: 0 class right, 4 class wrong"
    assert chart.rule == (LEFT + RIGHT) / 2


def test_a_dozen_lines_have_a_colour_each_that_the_page_knows() -> None:
    series = [_line([(0, 0), (1, 1)]) for _ in range(COLOURS + 1)]
    styles = [line.style for line in line_chart("t", series, "x", str, (0, 1), (0, 1)).lines]
    assert len(set(styles[:COLOURS])) == COLOURS
    assert styles[COLOURS] == styles[0]
    css = (Path(chart.__file__).parent / "template" / "report.css").read_text()
    colours = {style: re.search(rf"--{style}: (light-dark\(.+\));", css) for style in styles}
    assert len({found[1] for found in colours.values() if found}) == COLOURS
    assert all(f".{style} {{ color: var(--{style}); }}" in css for style in styles)
