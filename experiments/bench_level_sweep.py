"""What all thresholds of a score map cost: `python -m experiments.bench_level_sweep`.

Maps per second of the level sweeps, on smooth maps (14×14 noise, upsampled to 224×224, score 0 to 1) with one
ground-truth box each. The other side is `cv2.findContours` per threshold as the WSOL benchmark does it, and, with
WSOLEVALUATION=PATH, the evaluator of a checkout of clovaai/wsolevaluation itself (which needs the package `munch`).
All count hits from a score map, quantising included. One thread, and its CPU time, so that a busy machine counts
less; medians of alternating runs, and how many hits differ from those of the exact sweep.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from cam_lightning.functional.max_box_accuracy import best_overlaps, largest_boxes, levels_of, overlaps, quantise

MAP_SIZE = 224
IOU = 0.5
Hits = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Score map (H, W), half-open truth (N, 4), thresholds (Q,) → hits (Q,), bool."""


def main() -> None:
    """Prints one line per way of counting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=8)
    parser.add_argument("--cells", type=int, default=14, help="side of the noise that is upsampled")
    parser.add_argument("--runs", type=int, default=3, help="how often each way goes through the maps, in turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    score_SHW, truth_S14 = smooth_maps(options.maps, options.cells)
    checkout = os.environ.get("WSOLEVALUATION")
    print(f"{options.maps} maps of {options.cells}×{options.cells} → {MAP_SIZE}×{MAP_SIZE}, cv2 {cv2.__version__}")
    for num_thresholds in (100, 1000):
        for multi in (False, True):
            ways = {
                "sweep, wsol": sweep("wsol", multi),
                "sweep, components": sweep("components", multi),
                "findContours per threshold": contours(multi),
            }
            if checkout:
                ways["benchmark's evaluator"] = evaluator(Path(checkout), multi)
            compare(ways, score_SHW, truth_S14, np.arange(num_thresholds) / num_thresholds, multi, options.runs)


def compare(
    ways: dict[str, Hits],
    score_SHW: np.ndarray,
    truth_S14: np.ndarray,
    thresholds_Q: np.ndarray,
    multi: bool,
    runs: int,
) -> None:
    """Times all ways in turn, and prints maps/s and ratios to the exact sweep."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    hits: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    for run in range(runs + 1):
        for name, way in ways.items():
            for score_HW, truth_14 in zip(score_SHW, truth_S14, strict=True):
                start = time.thread_time()
                hit_Q = way(score_HW, truth_14, thresholds_Q)
                if run > 0:
                    seconds[name].append(time.thread_time() - start)
                else:  # compiles and warms
                    hits[name].append(hit_Q)
    exact = statistics.median(seconds["sweep, wsol"])
    boxes = "all boxes (MaxBoxAccV2)" if multi else "largest box (MaxBoxAcc)"
    print(f"\n{boxes}, {len(thresholds_Q)} thresholds")
    for name, times in seconds.items():
        per_map = statistics.median(times)
        all_hits, exact_hits = np.array(hits[name]), np.array(hits["sweep, wsol"])
        print(
            f"  {name:27s} {1 / per_map:7.1f} maps/s {per_map * 1e3:8.3f} ms, {per_map / exact:5.1f}× the exact sweep;"
            f" {all_hits.sum()} hits of {all_hits.size}, {(all_hits != exact_hits).sum()} unlike its"
        )


def smooth_maps(count: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (S, H, W), float64, and one half-open truth each (S, 1, 4)."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(count, 1, cells, cells)))
    size = (MAP_SIZE, MAP_SIZE)
    score_SHW = torch.nn.functional.interpolate(noise, size, mode="bilinear")[:, 0].numpy()
    score_SHW -= score_SHW.min((1, 2), keepdims=True)
    score_SHW /= score_SHW.max((1, 2), keepdims=True)
    # A truth that some thresholds hit: what the map has above 0.5, moved a little.
    truth_S4 = [
        largest_boxes(quantise(score_HW), "components")[127] + rng.integers(-9, 10, 4) for score_HW in score_SHW
    ]
    return score_SHW, np.array(truth_S4).clip(0, MAP_SIZE)[:, None]


def sweep(mode: str, multi: bool) -> Hits:
    """This project's way."""

    def hits(score_HW: np.ndarray, truth_N4: np.ndarray, thresholds_Q: np.ndarray) -> np.ndarray:
        level_HW = quantise(score_HW)
        if multi:
            iou_L = best_overlaps(level_HW, truth_N4, mode)
        else:
            iou_L = overlaps(largest_boxes(level_HW, mode), truth_N4)
        return iou_L[levels_of(thresholds_Q, int(level_HW.max()))] >= IOU

    return hits


def contours(multi: bool) -> Hits:
    """One `findContours` per threshold, all overlaps at once."""

    def boxes_at(level_HW: np.ndarray, level: int) -> list[list[int]]:
        height, width = level_HW.shape
        _, region = cv2.threshold(level_HW, level, 255, cv2.THRESH_BINARY)
        found = list(cv2.findContours(region, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0])
        if not found:
            return [[0, 0, 1, 1]]
        boxes = []
        for contour in found if multi else [max(found, key=cv2.contourArea)]:
            x, y, w, h = cv2.boundingRect(contour)
            boxes.append([x, y, min(x + w + 1, width), min(y + h + 1, height)])
        return boxes

    def hits(score_HW: np.ndarray, truth_N4: np.ndarray, thresholds_Q: np.ndarray) -> np.ndarray:
        level_HW = (score_HW * 255).astype(np.uint8)
        boxes = [boxes_at(level_HW, int(threshold * level_HW.max())) for threshold in thresholds_Q]
        first = np.cumsum([0, *(len(some) for some in boxes[:-1])])
        iou_P = overlaps(np.concatenate([np.array(some) for some in boxes]), truth_N4)
        return np.maximum.reduceat(iou_P, first) >= IOU

    return hits


def evaluator(checkout: Path, multi: bool) -> Hits:
    """The box evaluator of a checkout, one per map so that its counts are that map's hits."""
    vars(np).setdefault("float", float)  # the checkout predates numpy 1.24
    vars(np).setdefault("int", int)
    sys.path.insert(0, str(checkout))
    from evaluation import BoxEvaluator  # type: ignore[import-not-found]

    def hits(score_HW: np.ndarray, truth_N4: np.ndarray, thresholds_Q: np.ndarray) -> np.ndarray:
        judge: Any = BoxEvaluator.__new__(BoxEvaluator)
        judge.cam_threshold_list, judge.iou_threshold_list, judge.multi_contour_eval = thresholds_Q, [100 * IOU], multi
        judge.num_correct, judge.cnt = {100 * IOU: np.zeros(len(thresholds_Q))}, 0
        judge.gt_bboxes = {"map": truth_N4 - np.array([0, 0, 1, 1])}
        judge.accumulate(score_HW, "map")
        return judge.num_correct[100 * IOU] > 0

    return hits


if __name__ == "__main__":
    main()
