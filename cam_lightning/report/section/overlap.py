"""How the boxes overlap with the ground truth, and the errors when the map is cut elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cam_lightning.contracts import Spec
from cam_lightning.report.chart import Histogram, LineChart, Series, histogram, line_chart, percent
from cam_lightning.report.number import said, tick
from cam_lightning.report.page import RunPage
from cam_lightning.report.run_record import read_threshold_curves
from cam_lightning.report.split_results import spec_of
from cam_lightning.run.prediction_table import Prediction

PLACE = 30
ANCHOR = "overlap"
NAME = "Overlap"
TITLE = "Overlap with the ground truth"
FILES = ()

_NUM_BINS = 20


class Overlaps(NamedTuple):
    """The figures of the boxes' overlap with the ground truth, and the accuracies as a small table."""

    num_images: int
    num_without_box: int
    histogram: Histogram
    accuracy: LineChart
    rows: list[tuple[str, list[str]]]
    """(measure, accuracy at each of `thresholds`)."""
    thresholds: list[float]


def content(page: RunPage) -> dict[str, Any] | None:
    """The figures of the predictions; nothing where no image has a known box."""
    figures = overlaps(page.predictions, page.record.hit_iou)
    if figures is None:
        return None
    curves = read_threshold_curves(page.record.path, page.split)
    own = page.record.results.get("protocol/box/threshold")
    return {
        "overlaps": figures,
        "thresholds": threshold_chart(curves, page.record.specs, page.split, own),
        "hit_iou": page.record.hit_iou,
    }


def overlaps(predictions: Sequence[Prediction], threshold: float) -> Overlaps | None:
    """Figures of a split's predictions, of which an overlap of `threshold` is a hit; None where no box is known."""
    boxed = [prediction for prediction in predictions if prediction.ious]
    if not boxed:
        return None
    iou = np.array([prediction.ious[0] for prediction in boxed])
    is_right = np.array([prediction.is_right for prediction in boxed])
    scores = {
        "top-1": np.array([prediction.best_iou(1) for prediction in boxed]),
        "top-5": np.array([prediction.best_iou(5) for prediction in boxed]),
        "GT-known": np.array([prediction.gt_known_iou for prediction in boxed], dtype=float),
    }
    grid = np.arange(101) / 100
    read_off = sorted({0.3, 0.5, 0.7, threshold})
    series = [
        Series(
            name,
            [(float(t), float(np.mean(score >= t))) for t in grid],
            [""] * len(grid),
            f"{np.mean(score >= threshold):.2%}",
        )
        for name, score in scores.items()
    ]
    edges = np.arange(1, _NUM_BINS) / _NUM_BINS
    bins = np.searchsorted(edges, iou, side="right")
    counts = [np.bincount(bins[chosen], minlength=_NUM_BINS).tolist() for chosen in (is_right, ~is_right)]
    return Overlaps(
        len(boxed),
        len(predictions) - len(boxed),
        histogram(
            "IoU of the top-1 box", counts, ("class-right", "class-wrong"), "IoU", threshold,
            f"mean {iou.mean():.3f}, median {np.median(iou):.3f}",
        ),
        line_chart(
            "Localization accuracy", series, "IoU that counts as a hit", percent, (0, 1), (0, 1),
            note=f"at IoU {threshold:g}", rule=threshold,
        ),
        [(name, [f"{np.mean(score >= t):.2%}" for t in read_off]) for name, score in scores.items()],
        read_off,
    )  # fmt: skip


def threshold_chart(
    curves: dict[str, list[float]], specs: dict[str, Spec], split: str, own: float | None
) -> LineChart | None:
    """Each number over all thresholds, the run's own threshold dotted; None where the run has no such curves."""
    names = [name for name in curves if name != "threshold"]
    if not names:
        return None
    x = curves["threshold"]
    series = []
    for name in names:
        spec = spec_of(f"{split}/{name}", specs)
        best = (max if spec.better == "higher" else min)(curves[name])
        at = x[curves[name].index(best)]
        points = list(zip(x, curves[name], strict=True))
        series.append(Series(spec.label or spec.title, points, [""] * len(x), f"{said(spec, best)} at {at:g}"))
    first = spec_of(f"{split}/{names[0]}", specs)
    top = 1.0 if first.kind == "share" else max(max(curves[name]) for name in names)
    return line_chart(
        "Error over thresholds" if first.better != "higher" else "Results over thresholds",
        series,
        "threshold on the map",
        lambda value: tick(first, value),
        (0, 1),
        (0, top),
        note="the best of each",
        rule=None if own is None else float(own),
    )
