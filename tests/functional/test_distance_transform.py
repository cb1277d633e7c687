"""The released box generator: by hand, against slow loops, and on the authors' own example."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_lightning.functional.distance_transform import heatmap, loose_and_tight_boxes, rectangles


def slow_core(region: np.ndarray) -> np.ndarray:
    """Pixels whose distance to the nearest pixel outside, on a scale to 255, rounds to more than 10."""
    height, width = region.shape
    outside = [(y, x) for y in range(height) for x in range(width) if not region[y, x]]
    if not outside or len(outside) == region.size:
        return region
    distance = np.zeros(region.shape)
    for y in range(height):
        for x in range(width):
            distance[y, x] = min(math.hypot(y - oy, x - ox) for oy, ox in outside)
    return np.floor(distance * 255 / distance.max() + 0.5) > 10


def slow_regions(mask: np.ndarray, diagonal: bool) -> list[set[tuple[int, int]]]:
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if diagonal or abs(dy) + abs(dx) == 1]
    regions = []
    while left:
        waiting, region = [left.pop()], set()
        while waiting:
            y, x = waiting.pop()
            region.add((y, x))
            for dy, dx in steps:
                if (y + dy, x + dx) in left:
                    left.remove((y + dy, x + dx))
                    waiting.append((y + dy, x + dx))
        regions.append(region)
    return regions


def slow_contour_boxes(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Outer borders, and hole borders, which run on the region's pixels around the hole."""
    boxes = []
    for region in slow_regions(mask, diagonal=True):
        ys, xs = [y for y, _ in region], [x for _, x in region]
        boxes.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    for hole in slow_regions(~np.pad(mask, 1), diagonal=False):
        if (0, 0) not in hole:
            ys, xs = [y - 1 for y, _ in hole], [x - 1 for _, x in hole]
            boxes.append((min(xs) - 1, min(ys) - 1, max(xs) + 2, max(ys) + 2))
    return boxes


def area(box: tuple[int, ...]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def slow_candidates(grey: np.ndarray, levels: tuple[int, ...]) -> list[tuple[int, ...]]:
    height, width = grey.shape
    boxes = []
    for level in levels:
        for x0, y0, x1, y1 in slow_contour_boxes(slow_core(grey > level)):
            box = (x0, y0, min(x1, width - 5), min(y1, height - 5))
            if box[0] < box[2] and box[1] < box[3]:
                boxes.append(box)
    return boxes


def slow_thinned(boxes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The released double loop over boxes that are sorted by area."""
    boxes, i = list(boxes), 0
    while i < len(boxes):
        j = i + 1
        while j < len(boxes):
            a, b = boxes[i], boxes[j]
            wide = max(0, min(a[2], b[2]) - max(a[0], b[0]))
            high = max(0, min(a[3], b[3]) - max(a[1], b[1]))
            if wide * high > int(max(area(a), area(b)) * 0.5):
                boxes.pop(j)
            j += 1
        i += 1
    return boxes


@settings(max_examples=25, deadline=None)
@given(st.integers(6, 14), st.integers(6, 18), st.integers(0, 10**6), st.sampled_from([1, 2, 4]))
def test_rectangles_against_slow_loops(height: int, width: int, seed: int, coarse: int) -> None:
    random = np.random.default_rng(seed)
    cells = random.integers(0, 256, (-(-height // coarse), -(-width // coarse)), dtype=np.uint8)
    grey = cells.repeat(coarse, 0).repeat(coarse, 1)[:height, :width]
    levels = (20, 100, 180)
    ours = [tuple(box) for box in rectangles(grey, levels).tolist()]
    boxes = slow_candidates(grey, levels)
    areas = [area(box) for box in boxes]
    if len(set(areas)) == len(areas):
        assert ours == slow_thinned(sorted(boxes, key=area, reverse=True))
    else:  # The order of equally large rectangles is nobody's promise; what they are, and the first's area, is.
        assert set(ours) <= set(boxes)
        assert area(ours[0]) == max(areas)


def test_by_hand() -> None:
    """A wide step of 101, a smaller one of 200 on it: loose and tight box.

    The step is 21 high: its greatest distance is 11, and 10.5/255 of that is less than 1, so every pixel stays.
    """
    grey = np.zeros((40, 60), np.uint8)
    grey[5:26, 10:40] = 101
    grey[9:20, 20:33] = 200
    assert rectangles(grey).tolist() == [[10, 5, 40, 26], [20, 9, 33, 20]]
    assert rectangles(grey, (20, 100)).tolist() == [[10, 5, 40, 26]]
    assert rectangles(grey, (20, 150)).tolist() == [[10, 5, 40, 26], [20, 9, 33, 20]]
    # The middle level's rectangle is dropped, and the loop steps over the next: more than half of the bigger, kept.
    grey[6:25, 11:39] = 120
    assert rectangles(grey, (20, 101, 110)).tolist() == [[10, 5, 40, 26], [11, 6, 39, 25]]


def test_thin_parts_go() -> None:
    """A square of greatest distance 50: 10.5/255 of it is 2.06, so a line 3 pixels wide, of distance 2, goes.

    Of the square's edge two pixels go too, except where the line joins it.
    """
    grey = np.zeros((140, 160), np.uint8)
    grey[10:109, 5:104] = 255
    grey[50:53, 104:140] = 255
    assert rectangles(grey, (20,)).tolist() == [[7, 12, 104, 107]]


def test_rectangles_end_before_the_right_and_bottom_edges() -> None:
    grey = np.full((30, 50), 255, np.uint8)
    # Of the three levels' equal rectangles the loop drops the second and steps over the third.
    assert rectangles(grey).tolist() == [[0, 0, 45, 25]] * 2
    grey[:, :46] = 0  # wholly beyond
    assert rectangles(grey).tolist() == []
    assert rectangles(np.zeros((30, 50), np.uint8)).shape == (0, 4)


def test_heatmaps() -> None:
    """Of a map of the image's size: |v| / max, in 255ths, rounded."""
    map_hw = np.array([[-4.0, 0.0, 2.0], [1.0, -1.0, 0.01]], np.float32)
    grey = heatmap(map_hw, (2, 3))
    assert grey is not None
    assert grey.dtype == np.uint8
    assert grey.tolist() == [[255, 0, 128], [64, 64, 1]]
    grey = heatmap(map_hw, (2, 3), "zero")
    assert grey is not None
    assert grey.tolist() == [[0, 0, 255], [128, 0, 1]]
    for useless in (np.full((2, 3), 5.0), np.array([[1.0, math.nan]]), np.array([[1.0, math.inf]])):
        assert heatmap(useless, (4, 6)) is None
    assert heatmap(np.array([[-1.0, -2.0]]), (4, 6), "zero") is None
    with pytest.raises(ValueError, match="rectify is one of absolute, zero; got 'relu'"):
        heatmap(map_hw, (2, 3), "relu")
    with pytest.raises(ValueError, match="uint8"):
        rectangles(map_hw)


def test_loose_and_tight_boxes_of_maps() -> None:
    """A spot on a slope gives two boxes, one inside the other; a map that names no region gives the image."""
    y, x = np.mgrid[:12, :18].astype(np.float32)
    spot = np.exp(-((y - 5) ** 2 + (x - 8) ** 2) / 8)
    maps = np.stack([spot, np.full((12, 18), 3.0, np.float32), -spot])
    sizes = np.array([[60, 90], [60, 90], [33, 90]])
    boxes, degenerate = loose_and_tight_boxes(maps, sizes)
    assert boxes.shape == (3, 2, 4)
    assert boxes.dtype == np.float32
    assert degenerate.tolist() == [False, True, False]
    loose, tight = boxes[0].tolist()
    assert loose[0] < tight[0] < tight[2] < loose[2]
    assert loose[1] < tight[1] < tight[3] < loose[3]
    assert boxes[1].tolist() == [[0, 0, 90, 60]] * 2
    boxes, degenerate = loose_and_tight_boxes(maps, sizes, rectify="zero")
    assert degenerate.tolist() == [False, True, True]
    assert boxes[2].tolist() == [[0, 0, 90, 33]] * 2
    # One level gives one rectangle, which is both boxes.
    boxes, _ = loose_and_tight_boxes(maps[:1], sizes[:1], levels=(100,))
    assert boxes[0, 0].tolist() == boxes[0, 1].tolist()


@pytest.mark.reference
def test_the_released_example(reference_data: Path) -> None:
    """Their heatmap, their boxes: to the pixel."""
    grey = cv2.imread(str(reference_data / "cam-paper" / "heatmap_6.jpg"), cv2.IMREAD_GRAYSCALE)
    numbers = [int(value) for value in (reference_data / "cam-paper" / "heatmap_6.txt").read_text().split()]
    expected = [[x, y, x + w, y + h] for x, y, w, h in zip(*[iter(numbers)] * 4, strict=True)]
    assert len(expected) == 2
    np.testing.assert_allclose(rectangles(grey, (20, 100, 110)), expected, rtol=0, atol=1)
