"""The best overlap at all levels against cutting the map at each, and the benchmark's 600 hit counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_level_sweep import benchmark_boxes, cuts, maps

from cam_lightning.functional.max_box_accuracy import best_overlaps, largest_boxes, levels_of, overlaps, quantise


def iou(a: list[int], b: list[int]) -> float:
    """Counts pixels."""
    inside_a, inside_b = np.zeros((2, 40, 40), bool)
    inside_a[a[1] : a[3], a[0] : a[2]] = True
    inside_b[b[1] : b[3], b[0] : b[2]] = True
    return float((inside_a & inside_b).sum() / (inside_a | inside_b).sum())


def component_boxes(region_HW: np.ndarray) -> list[list[int]]:
    """Half-open boxes of all 8-connected components, by merging pixels' boxes until nothing touches."""
    height, width = region_HW.shape
    seen: set[tuple[int, int]] = set()
    boxes = []
    for start in zip(*np.nonzero(region_HW), strict=True):
        waiting, component = [(int(start[0]), int(start[1]))], []
        while waiting:
            y, x = waiting.pop()
            if (y, x) in seen or not (0 <= y < height and 0 <= x < width) or not region_HW[y, x]:
                continue
            seen.add((y, x))
            component.append((y, x))
            waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        if component:
            ys, xs = zip(*component, strict=True)
            boxes.append([min(xs), min(ys), max(xs) + 1, max(ys) + 1])
    return boxes


def random_truth(shape: tuple[int, int], seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    truth = []
    for _ in range(rng.integers(1, 4)):
        (x0, x1), (y0, y1) = (sorted(rng.integers(0, side, 2).tolist()) for side in (shape[1], shape[0]))
        truth.append([x0, y0, x1 + 1, y1 + 1])
    return truth


@settings(max_examples=40, deadline=None)
@given(level_HW=maps, seed=st.integers(0, 2**32 - 1))
def test_components_equal_a_flood_fill_at_each_level(level_HW: np.ndarray, seed: int) -> None:
    truth = random_truth(level_HW.shape, seed)
    iou_L = best_overlaps(level_HW, np.array(truth), "components")
    for level in cuts(level_HW):
        boxes = component_boxes(level_HW > level) or [[0, 0, level_HW.shape[1], level_HW.shape[0]]]
        assert iou_L[level] == max(iou(box, t) for box in boxes for t in truth)


@settings(max_examples=150, deadline=None)
@given(level_HW=maps, seed=st.integers(0, 2**32 - 1))
def test_wsol_equals_the_benchmark_at_each_level(level_HW: np.ndarray, seed: int) -> None:
    truth = random_truth(level_HW.shape, seed)
    iou_L = best_overlaps(level_HW, np.array(truth), "wsol")
    for level in cuts(level_HW):
        assert iou_L[level] == max(iou(box, t) for box in benchmark_boxes(level_HW, level) for t in truth)


def test_a_hole_is_a_box_in_wsol_only() -> None:
    """A frame of 7 × 5 around a hole of 5 × 3; the truth is what the benchmark makes of the hole."""
    level_HW = np.zeros((9, 11), np.uint8)
    level_HW[1:6, 2:9] = 100
    level_HW[2:5, 3:8] = 40
    level_HW[3, 5] = 0
    hole, pit = np.array([[2, 1, 10, 7]]), np.array([[4, 2, 8, 6]])
    assert best_overlaps(level_HW, hole, "wsol")[50] == 1.0
    assert best_overlaps(level_HW, pit, "wsol")[[0, 39, 40, 99, 100]].tolist() == [1, 1, 1 / 3, 1 / 3, 0]
    assert best_overlaps(level_HW, pit, "components")[50] == 16 / 35


def test_without_truth_nothing_overlaps() -> None:
    assert not best_overlaps(np.full((3, 4), 9, np.uint8), np.zeros((0, 4)), "wsol").any()


def test_the_best_of_all_is_at_least_the_largest() -> None:
    rng = np.random.default_rng(0)
    level_HW = rng.integers(0, 256, (300, 290)).astype(np.uint8)
    truth = np.array([[30, 40, 200, 250]])
    for mode in ("components", "wsol"):
        assert (best_overlaps(level_HW, truth, mode) >= overlaps(largest_boxes(level_HW, mode), truth)).all()


@pytest.mark.reference
def test_equals_all_hit_counts_of_the_benchmark(reference_data: Path) -> None:
    """100 thresholds, three IoU, largest contour and all contours: 600 counts over 150 maps."""
    folder = reference_data / "wsol-reference"
    reference = json.loads((folder / "wsol_reference.json").read_text())
    level_SHW = np.load(folder / "wsol_reference.npz")["levels"]
    thresholds_Q = np.arange(0, 1, 0.01)
    hits = {(boxes, iou): np.zeros(100, int) for boxes in ("largest", "multi") for iou in (30, 50, 70)}
    for level_HW, image_id in zip(level_SHW, reference["image_ids"], strict=True):
        score_HW = np.where(level_HW == 255, 1.0, np.where(level_HW == 0, 0.0, (level_HW + 0.5) / 255))
        level_HW = quantise(score_HW)
        truth_N4 = np.array(reference["gt_boxes_224"][image_id]) + np.array([0, 0, 1, 1])
        at_Q = levels_of(thresholds_Q, level_HW.max())
        largest_Q = overlaps(largest_boxes(level_HW, "wsol"), truth_N4)[at_Q]
        any_Q = best_overlaps(level_HW, truth_N4, "wsol")[at_Q]
        for threshold in (30, 50, 70):
            hits["largest", threshold] += largest_Q >= threshold / 100
            hits["multi", threshold] += any_Q >= threshold / 100
    for (boxes, threshold), hits_Q in hits.items():
        assert hits_Q.tolist() == reference["expected"][f"{boxes}_contour"]["hits"][str(threshold)]
