"""What a run directory holds, read back: everything that is there, of a run in any state."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHANGE_NO_NUMBER = (
    "trainer.timeout_minutes",
    "callback.checkpoint.every_minutes",
    "dataset.num_workers",
    "logger.wandb.mode",
)
"""Options that say how a run is carried out, not what it computes."""


class Point(NamedTuple):
    """One logged number."""

    step: int
    epoch: str
    value: float


class Prediction(NamedTuple):
    """One row of `predictions.csv`. Classes are told apart by number: two of ImageNet's share a name, twice over."""

    id: str
    label: int
    label_name: str
    classes: list[int]
    """Best first, as are `names` and `probabilities`."""
    names: list[str]
    probabilities: list[float]
    ranks: list[int]
    """Of each guess, the place of its class among `classes`."""
    ious: list[float]
    """IoU of each guess with the best ground-truth box; empty where no box is known."""
    gt_known_iou: float | None

    @property
    def is_right(self) -> bool:
        """Whether the most probable class is the true one."""
        return self.classes[0] == self.label

    def best_iou(self, k: int) -> float:
        """The best IoU among the first k guesses that are of the true class; -1 where none is."""
        guesses = zip(self.ranks[:k], self.ious, strict=False)
        return max((iou for rank, iou in guesses if self.classes[rank] == self.label), default=-1.0)


class RunRecord(NamedTuple):
    """One run directory; what it does not hold is empty."""

    path: Path
    status: dict[str, Any]
    config_text: str
    config: dict[str, Any]
    curves: dict[str, list[Point]]
    """Every number in `metrics.csv` by key, in the order logged; without NaN and infinity."""
    results: dict[str, Any]

    @property
    def iou_threshold(self) -> float:
        """The overlap that counts as a hit in this run."""
        metrics = self.config.get("metric") or {}
        return float((metrics.get("localization_error") or {}).get("iou_threshold", 0.5))


def read_run(run_dir: Path) -> RunRecord:
    """Reads a run directory, also one of a run that failed or is still writing."""
    config_text = _text(run_dir / "config.yaml")
    return RunRecord(
        path=run_dir,
        status=json.loads(_text(run_dir / "status.json") or "{}"),
        config_text=config_text,
        config=yaml.safe_load(config_text) or {},
        curves=_read_curves(run_dir / "metrics.csv"),
        results=json.loads(_text(run_dir / "results.json") or "{}"),
    )


def read_threshold_curves(run_dir: Path, split: str) -> dict[str, list[float]]:
    """`threshold` and the errors there, by key; empty where the run has none."""
    path = run_dir / ("threshold_curves.json" if split == "test" else f"threshold_curves_{split}.json")
    return json.loads(_text(path) or "{}")


def read_predictions(run_dir: Path, split: str) -> list[Prediction]:
    """The rows of a split's predictions, in the dataset's order; none where the file is absent."""
    path = run_dir / ("predictions.csv" if split == "test" else f"predictions_{split}.csv")
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Prediction(
                id=row["id"],
                label=int(row["label"]),
                label_name=row["label_name"],
                classes=json.loads(row["classes"]),
                names=json.loads(row["names"]),
                probabilities=json.loads(row["probabilities"]),
                ranks=json.loads(row["ranks"]),
                ious=json.loads(row["ious"]),
                gt_known_iou=float(row["gt_known_iou"]) if row["gt_known_iou"] else None,
            )
            for row in csv.DictReader(file)
        ]


def prediction_of(picture_name: str, predictions: list[Prediction]) -> Prediction | None:
    """The row of an overlay called `{index:06d}_{id}.png`; None where no row is certainly that image's.

    Row numbers are positions in the split only where every image was evaluated. So the row at `index` must
    have the picture's id; where it has not (a run limited to some batches), the id must name one row alone.
    """
    index, _, name = Path(picture_name).stem.partition("_")
    if index.isdigit() and int(index) < len(predictions) and _agree(predictions[int(index)].id, name):
        return predictions[int(index)]
    rows = [prediction for prediction in predictions if _agree(prediction.id, name)]
    return rows[0] if len(rows) == 1 else None


def _agree(image_id: str, name: str) -> bool:
    """Whether `name` is the id's last part, as far as characters fit for a file's name can tell."""
    return re.sub(r"[^A-Za-z0-9]", "", Path(image_id).stem).startswith(re.sub(r"[^A-Za-z0-9]", "", name))


def _read_curves(path: Path) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = defaultdict(list)
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                # A run that is still writing may show half a row.
                if row["value"] and math.isfinite(float(row["value"])):
                    curves[row["key"]].append(Point(int(row["step"]), row["epoch"], float(row["value"])))
    return dict(curves)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
