"""A run directory made by hand, small enough to know every number in it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_world import prediction, specs_of, stored

from cam_lightning.run.prediction_table import Prediction, write_predictions

HOSTILE = 'it\'s <b>bold</b> & "co"'

CONFIG = """\
dataset: {_target_: cam_lightning.dataset.shapes.Shapes}
backbone: {_target_: cam_lightning.backbone.googlenet_gap.googlenet_gap}
hit_iou: 0.5
metric: {}
"""

NAMES = ["cat", HOSTILE]


def _row(
    name: str, label: int, classes: list[int], probabilities: list[float], ious: list[float], known: float
) -> Prediction:
    names = [NAMES[number] for number in classes]
    return prediction(f"test/{name}", label, NAMES[label], classes, names, probabilities, [0, 1], ious, known)


ROWS = [
    _row("a", 0, [0, 1], [0.9, 0.1], [0.8, 0.1], 0.8),
    _row("b", 0, [0, 1], [0.6, 0.4], [0.3, 0.9], 0.3),
    _row("c", 0, [1, 0], [0.7, 0.3], [0.5, 0.6], 0.6),
    _row("d", 1, [1, 0], [0.95, 0.05], [0.5, 0.0], 0.5),
    _row("e", 1, [0, 1], [0.2, 0.1], [0.1, 0.2], 0.2),
]
RESULTS: dict[str, Any] = {
    "test/classification_error/top1": 0.4,
    "test/localization_error/top1": 0.6,
    "test/localization_error/top5": 0.4,
    "test/gt_known_error": 0.4,
    "test/loss": 1.25,
    "test/num_images": 5,
    "test/baseline/centre_box/localization_error/top1": 0.55,
    "test/baseline/centre_box/gt_known_error": 0.9,
    "protocol/box/threshold": 0.2,
    "specs": stored(specs_of("test")),
}
STATUS = {
    "state": "finished",
    "time": "2026-03-04T05:06:07+00:00",
    "command": """python -m cam_lightning.train 'run_dir=/it'"'"'s <here>'""",
}
METRICS = [
    (19, 0, "train/loss", "2.5"),
    (39, 0, "train/loss", "nan"),
    (49, 0, "val/loss", "2.25"),
    (49, 0, "val/localization_error/top1", "0.875"),
    (49, 0, "val/gt_known_error", "0.75"),
    (49, 0, "val/baseline/centre_box/localization_error/top1", "0.8"),
    (49, 0, "val/num_images", "40"),
]


@pytest.fixture
def hostile() -> str:
    """A class name that must stay text wherever it goes."""
    return HOSTILE


@pytest.fixture
def rows() -> list[Prediction]:
    """Five predictions of two classes, one box for each class."""
    return list(ROWS)


@pytest.fixture
def results() -> dict[str, Any]:
    """The `results.json` that goes with `rows`, beside a baseline."""
    return dict(RESULTS)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes `<tmp>/run` of the parts wanted; `rows` are as the fixture's."""

    def make(
        rows: list[Prediction] | None = None,
        results: dict[str, Any] | None = None,
        status: dict[str, Any] | None = None,
        overlays: bool = True,
        has_specs: bool = True,
    ) -> Path:
        run_dir = tmp_path / "run"
        run_dir.mkdir()
        (run_dir / "config.yaml").write_text(CONFIG, encoding="utf-8")
        (run_dir / "status.json").write_text(json.dumps(STATUS | (status or {})), encoding="utf-8")
        with (run_dir / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("time", "step", "epoch", "key", "value"))
            writer.writerows(("2026-03-04T05:06:07+00:00", *row) for row in METRICS)
        if has_specs:
            (run_dir / "specs.json").write_text(
                json.dumps(stored(specs_of("train") | specs_of("val") | specs_of("test")))
            )
        if results:
            (run_dir / "results.json").write_text(json.dumps(results), encoding="utf-8")
        if rows:
            write_predictions(run_dir / "predictions.csv", rows)
        if overlays:
            (run_dir / "overlays" / "test").mkdir(parents=True)
            for index, row in enumerate(rows or []):
                picture = np.full((110, 132, 3), 40 * index, np.uint8)
                Image.fromarray(picture).save(run_dir / "overlays" / "test" / f"{index:06d}_{Path(row.id).stem}.png")
        return run_dir

    return make
