"""The figures of a report: learning curves, and how the overlaps of the test images are distributed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cam_lightning.contracts import Results
from cam_lightning.report.chart import Histogram, LineChart, Series, histogram, line_chart, percent
from cam_lightning.report.run_record import Point, Prediction, RunRecord

_FAMILIES = ("loss", "classification_error", "localization_error", "gt_known_error", "gt_known_error_by_size")
"""What is drawn first; families that other metrics log follow by name."""
_MOST_LINES = 6
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


def learning_curves(curves: dict[str, list[Point]]) -> list[LineChart]:
    """One chart per family of metrics, training and validation together; baselines as dashed lines."""
    families: dict[str, dict[str, list[Point]]] = defaultdict(dict)
    for key, points in curves.items():
        split, _, rest = key.partition("/")
        is_baseline = rest.startswith("baseline/")
        if split == "test" or _is_aside(key) or (is_baseline and not rest.endswith("/top1")):
            continue
        if "@" in rest and key.partition("@")[0] in curves:
            continue  # another threshold's: a line of its own would say the same once more
        family = rest.split("/")[2] if is_baseline else rest.split("/")[0]
        # One plate for the errors of boxes: GT-known is what the others come to when every class is right.
        families["localization_error" if family == "gt_known_error" else family or key][key] = points
    last_step = max((point.step for points in curves.values() for point in points), default=0)
    order = [name for name in _FAMILIES if name in families]
    names = (*order, *sorted(families.keys() - set(order)))
    return [_curves_of(name, families[name], last_step) for name in names]


def _is_aside(key: str) -> bool:
    """Whether a key says something about another one: how many images, at which threshold."""
    last = key.rpartition("/")[2]
    return last.startswith("num_") or last == "threshold"


def _curves_of(family: str, curves: dict[str, list[Point]], last_step: int) -> LineChart:
    shares = is_share(family)
    plain = sorted((key for key in curves if "/baseline/" not in key), key=_order)
    shown = plain[:_MOST_LINES] + sorted(key for key in curves if "/baseline/" in key)
    series = [_series(key, curves[key], shares) for key in shown]
    values = [y for one in series for _, y in one.points]
    left_out = len(plain) - _MOST_LINES
    title = metric_name(family)
    return line_chart(
        title[:1].upper() + title[1:],
        series,
        "step",
        percent if shares else "{:g}".format,
        x_range=(0, last_step),
        y_range=(0, max(values)) if shares else (min(values), max(values)),
        note=f"{left_out} more in metrics.csv" if left_out > 0 else "",
    )


def _order(key: str) -> tuple[bool, bool, str]:
    """Validation before training, top-1 before GT-known: the first lines have the clearest colours."""
    return (not key.startswith("val/"), key.endswith("gt_known_error"), key)


def _series(key: str, points: list[Point], shares: bool) -> Series:
    def written(value: float) -> str:
        return f"{value:.2%}" if shares else f"{value:.4g}"

    split, _, rest = key.partition("/")
    is_baseline = rest.startswith("baseline/")
    name = metric_name(rest.split("/")[1] if is_baseline else rest.partition("/")[2])
    if rest == "gt_known_error":
        name = "GT-known"
    return Series(
        " ".join(filter(None, (split, name))),
        [(point.step, point.value) for point in points],
        [f"step {p.step:,}{f', epoch {p.epoch}' if p.epoch else ''}: {written(p.value)}" for p in points],
        written(points[-1].value),
        is_baseline,
    )


def overlaps(predictions: Sequence[Prediction], record: RunRecord, split: str) -> Overlaps | None:
    """Figures of a split's predictions; None where no image has a known box."""
    boxed = [prediction for prediction in predictions if prediction.ious]
    if not boxed:
        return None
    threshold = record.iou_threshold
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


def threshold_chart(curves: dict[str, list[float]], record: RunRecord) -> LineChart | None:
    """Errors over all thresholds, the run's own dotted; None where the run has no such curves."""
    if not curves:
        return None
    x = curves["threshold"]
    names = {"localization_error/top1": "top-1", "localization_error/top5": "top-5", "gt_known_error": "GT-known"}
    series = [
        Series(
            name,
            list(zip(x, curves[key], strict=True)),
            [""] * len(x),
            f"{min(curves[key]):.2%} at {x[curves[key].index(min(curves[key]))]:g}",
        )
        for key, name in names.items()
    ]
    own = record.results.get("protocol/box/threshold")
    return line_chart(
        "Error over thresholds", series, "threshold on the map", percent, (0, 1), (0, 1), note="the best of each",
        rule=None if own is None else float(own),
    )  # fmt: skip


class ResultRow(NamedTuple):
    """One metric as text: this run's value, then each baseline's; `best` are the columns of the best."""

    name: str
    lower_is_better: bool
    cells: list[str]
    best: set[int]


class ResultTable(NamedTuple):
    """A split's metrics; `columns` are this run and the baselines."""

    split: str
    columns: list[str]
    rows: list[ResultRow]
    num_images: int | None
    num_degenerate: int | None


def result_table(values: Results, split: str) -> ResultTable:
    """Every metric of a split beside the baselines that it was counted for, the best of each row marked."""
    prefix = f"{split}/baseline/"
    baselines = sorted({key[len(prefix) :].split("/")[0] for key in values if key.startswith(prefix)})
    keys = [
        key[len(split) + 1 :]
        for key in values
        if key.startswith(f"{split}/") and not key.startswith(prefix) and not _is_aside(key)
    ]
    keys.sort(key=_rank)
    rows = []
    for key in keys:
        numbers = [values[f"{split}/{key}"], *(values.get(f"{prefix}{name}/{key}") for name in baselines)]
        lower = lower_is_better(key)
        known = [number for number in numbers if number is not None]
        best = min(known) if lower else max(known)
        cells = ["" if n is None else f"{n:.4f}" if "loss" in key else f"{n:.2%}" for n in numbers]
        if (threshold := values.get(f"{split}/{key}/threshold")) is not None:
            cells[0] += f" at {threshold:g}"
        is_compared = len(known) > 1
        rows.append(
            ResultRow(
                metric_name(key),
                lower,
                cells,
                {i for i, number in enumerate(numbers) if is_compared and number == best},
            )
        )
    return ResultTable(
        split,
        ["this run", *(name.replace("_", " ") for name in baselines)],
        rows,
        _count(values, f"{split}/num_images"),
        _count(values, f"{split}/num_degenerate_maps"),
    )


def _rank(key: str) -> tuple[int, str]:
    """The paper's errors first, then what other metrics say, the loss last."""
    family = key.split("/")[0].split("@")[0]
    errors = _FAMILIES[1:]
    return (errors.index(family) if family in errors else len(errors) + (family == "loss"), key)


def last_values(curves: dict[str, list[Point]]) -> Results:
    """The last number logged under every key: what a run knew when it ended early."""
    return {key: points[-1].value for key, points in curves.items()}


def lower_is_better(key: str) -> bool:
    """Whether a result is an error or a loss."""
    return "error" in key or "loss" in key


def is_share(key: str) -> bool:
    """Whether a result is a share of something, to be said in percent."""
    return "error" in key or "accuracy" in key or "precision" in key


def metric_name(key: str) -> str:
    """A key as a reader says it: `localization_error/top1` is the localization error, top-1."""
    words = key.replace("gt_known", "GT-known").replace("top1", "top-1").replace("top5", "top-5")
    return words.replace("_", " ").replace("/", ", ")


def _count(values: Results, key: str) -> int | None:
    return int(values[key]) if key in values else None
