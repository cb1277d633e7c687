"""The order of pixels, and tables over all 256 surroundings of a pixel, against plain loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_lightning.functional.kernel.pixel_order import (
    RING,
    order_pixels,
    pad,
    ring_kind,
    ring_polygon_gain,
    ring_representatives,
    ring_steps,
)


@settings(max_examples=40, deadline=None)
@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 40)), seed=st.integers(0, 2**32 - 1))
def test_pixels_come_in_descending_order_and_know_who_came_before(shape: tuple[int, int], seed: int) -> None:
    level_HW = np.random.default_rng(seed).choice(np.array([0, 7, 8, 100, 254, 255], np.uint8), shape)
    height, width = shape
    order = order_pixels(pad(level_HW))
    positions = [(y, x) for y in range(height) for x in range(width)]
    positions.sort(key=lambda yx: -int(level_HW[yx]))  # stable: raster order within a level
    assert order.pixel_P.tolist() == [(y + 1) * order.pitch + x + 1 for y, x in positions]
    assert order.top == level_HW.max()
    assert order.above_L.tolist() == [int((level_HW > level).sum()) for level in range(256)]
    place = {yx: i for i, yx in enumerate(positions)}
    for (y, x), i in place.items():
        if level_HW[y, x] > 0:  # level 0 is never added, and the border has it
            expected = sum(place.get((y + dy, x + dx), i) < i and 1 << bit for bit, (dy, dx) in enumerate(RING))
            assert order.ring[(y + 1) * order.pitch + x + 1] == expected


def groups_around(byte: int) -> list[set[int]]:
    """Neighbours that are there, merged while any two groups touch."""
    groups = [{i} for i in range(8) if byte >> i & 1]
    merged = True
    while merged:
        merged = False
        for a in groups:
            for b in groups:
                touch = any(max(abs(RING[i][0] - RING[j][0]), abs(RING[i][1] - RING[j][1])) == 1 for i in a for j in b)
                if a is not b and touch:
                    groups = [g for g in groups if g is not a and g is not b] + [a | b]
                    merged = True
                    break
            if merged:
                break
    return groups


def test_one_representative_per_group() -> None:
    representative, count = ring_representatives()
    for byte in range(256):
        groups = groups_around(byte)
        chosen = representative[byte, : count[byte]].tolist()
        assert len(chosen) == len(groups)
        assert all(len(group & set(chosen)) == 1 for group in groups)


def test_steps_lead_to_the_representatives() -> None:
    step = ring_steps(10).astype(np.int64)
    representative, count = ring_representatives()
    for byte in range(256):
        for j in range(count[byte]):
            dy, dx = RING[representative[byte, j]]
            assert step[byte, j] == 10 * dy + dx


def test_kind_one_cannot_change_a_box() -> None:
    """Its neighbours, which belong to the component, reach at least as far as the pixel on all four sides."""
    for byte in range(1, 256):
        around = [RING[i] for i in range(8) if byte >> i & 1]
        box_holds = min(y for y, _ in around) <= 0 <= max(y for y, _ in around) and min(
            x for _, x in around
        ) <= 0 <= max(x for _, x in around)
        has_earlier = any((y, x) < (0, 0) for y, x in around)
        assert (ring_kind()[byte] >= 8) == (not (box_holds and has_earlier))
        assert ring_kind()[byte] & 7 == ring_representatives()[1][byte]
    assert ring_kind()[0] == 0


def test_polygon_gain_is_the_change_in_covered_blocks() -> None:
    """Twice the area of the 2 × 2 blocks in a 3 × 3 window, before and after the centre joins."""

    def doubled_area(window: dict[tuple[int, int], bool]) -> int:
        area = 0
        for y in (-1, 0):
            for x in (-1, 0):
                there = sum(window[y + a, x + b] for a in (0, 1) for b in (0, 1))
                area += {3: 1, 4: 2}.get(there, 0)
        return area

    for byte in range(256):
        window = {offset: bool(byte >> i & 1) for i, offset in enumerate(RING)}
        before = doubled_area({**window, (0, 0): False})
        assert ring_polygon_gain()[byte] == doubled_area({**window, (0, 0): True}) - before
