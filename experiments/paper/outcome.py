"""What finished runs say: their results, and image by image which of them a row gets wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cam_lightning.run.prediction_table import Prediction, read_predictions
from experiments.paper.runs import state
from experiments.paper.table import Claim, Row, Table


class Outcome:
    """The finished runs of one row, a seed each."""

    def __init__(self, row: Row, paths: Sequence[Path]) -> None:
        self.row = row
        self.paths = list(paths)
        self.results: list[dict[str, Any]] = [_json(path / "results.json") for path in paths]

    @property
    def seeds(self) -> list[str]:
        """As their folders are called."""
        return [path.name for path in self.paths]

    def values(self, metric: str, arm: str | None = None) -> list[float]:
        """A number of every seed, by its key below the split and the arm; empty where one of them has it not."""
        key = "/".join(filter(None, ("test", self.row.arm if arm is None else arm, metric)))
        if arm is None and metric.startswith("classification_error"):
            key = f"test/{metric}"
        found = [result.get(key) for result in self.results]
        return [] if None in found else [float(value) for value in found if value is not None]

    def baseline(self, name: str, metric: str) -> list[float]:
        """The same of a box that sees nothing, `whole_image` or `centre_box`."""
        return self.values(metric, f"baseline/{name}")

    @cached_property
    def predictions(self) -> list[list[Prediction]]:
        """Of every seed; none where the row is a further arm, which has no table."""
        if self.row.arm:
            return []
        columns = ("id", "label", "classes", "ranks", "ious", "gt_known_iou")
        return [list(read_predictions(path / "predictions.csv", columns)) for path in self.paths]

    def wrong(self, metric: str) -> dict[str, float] | None:
        """Image → in which share of the seeds it is wrong; None where that is not kept image by image.

        Raises ValueError where it does not add up to the number in results.json.
        """
        if not self.predictions or "@" in metric:
            return None
        iou = float(self.results[0].get("protocol/metric/gt_known_error/iou_threshold", 0.5))
        per_seed = [{row.id: wrong for row in rows if (wrong := _is_wrong(row, metric, iou)) is not None}
                    for rows in self.predictions]  # fmt: skip
        for seed, value, path in zip(per_seed, self.values(metric), self.paths, strict=True):
            if not math.isclose(np.mean(list(seed.values())), value, abs_tol=1e-6):
                raise ValueError(f"{path}: predictions.csv and results.json disagree on {metric}")
        return {image: float(np.mean([seed[image] for seed in per_seed])) for image in per_seed[0]}


def read_outcomes(table: Table, folder: Path) -> dict[str, Outcome]:
    """By row, of those that have a finished run."""
    outcomes = {}
    for row in table.rows:
        seeds = [path for path in (folder / row.run).glob("*") if path.name.isdigit()]
        finished = [path for path in sorted(seeds, key=lambda path: int(path.name)) if state(path) == "finished"]
        if finished:
            outcomes[row.name] = Outcome(row, finished)
    return outcomes


def difference(lower: Outcome, higher: Outcome, metric: str) -> tuple[float, float] | None:
    """How much larger the first one's mean error is than the second's, and the standard error of that.

    Where both are known image by image, the error is that of a mean of differences on the same images; else that of two
    shares of independent images, which is larger. None where either lacks the number.
    """
    first, second = lower.values(metric), higher.values(metric)
    if not first or not second:
        return None
    gap = float(np.mean(first) - np.mean(second))
    wrong, other = lower.wrong(metric), higher.wrong(metric)
    if wrong is not None and other is not None and wrong.keys() == other.keys() and len(wrong) > 1:
        differences = [wrong[image] - other[image] for image in wrong]
        return gap, float(np.std(differences, ddof=1) / math.sqrt(len(differences)))
    count = int(lower.results[0]["test/num_images"])
    shares = (float(np.mean(first)), float(np.mean(second)))
    return gap, math.sqrt(sum(share * (1 - share) for share in shares) / count)


def verdict(claim: Claim, outcomes: Mapping[str, Outcome]) -> tuple[str, str]:
    """What was found of a claim: in a word or two, and with its numbers.

    Reproduced or not where the difference is further than two standard errors from what the claim allows, else not told
    apart.
    """
    missing = [name for name in (claim.lower, claim.higher) if name not in outcomes]
    found = None if missing else difference(outcomes[claim.lower], outcomes[claim.higher], claim.metric)
    if found is None:
        return "not run", "–"
    gap, error = (100 * value for value in found)
    means = [100 * float(np.mean(outcomes[name].values(claim.metric))) for name in (claim.lower, claim.higher)]
    seeds = sorted({len(outcomes[name].seeds) for name in (claim.lower, claim.higher)})
    over = " and ".join(f"{count} seed{'s' if count > 1 else ''}" for count in seeds)
    numbers = f"{means[0]:.1f} against {means[1]:.1f} %: {gap:+.1f} ± {error:.1f} points ({over})"
    if gap + 2 * error < claim.margin:
        return "reproduced", numbers
    if gap - 2 * error > claim.margin:
        return "not reproduced", numbers
    return "not told apart", numbers


def provenance(path: Path) -> dict[str, str]:
    """Command, commit, machine and minutes of a run as it wrote them; where it was resumed, of its last piece."""
    environment, status = _json(path / "environment.json"), _json(path / "status.json")
    devices, git = environment.get("devices", {}), environment.get("git") or {}
    gpus = devices.get("gpu") or []
    machine = (
        ", ".join(map(str, gpus)) if gpus else f"{devices.get('cpu', 'unknown')}, {devices.get('cores', '?')} cores"
    )
    dirty = " and changes" if git.get("is_dirty") else ""
    command = str(status.get("command", ""))
    began, ended = (datetime.fromisoformat(content["time"]) for content in (environment, status))
    return {
        "command": command,
        "commit": f"{str(git.get('commit', 'unknown'))[:9]}{dirty}",
        "machine": machine,
        "minutes": f"{(ended - began).total_seconds() / 60:.0f}{' after resuming' if ' resume=' in command else ''}",
    }


def _is_wrong(row: Prediction, metric: str, iou: float) -> bool | None:
    """None: this image is not counted."""
    if metric == "gt_known_error":
        return None if row.gt_known_iou is None else row.gt_known_iou < iou
    name, _, top = metric.partition("/top")
    if name == "classification_error":
        return row.label not in row.classes[: int(top)]
    if name == "localization_error":
        return row.best_iou(int(top)) < iou if row.gt_known_iou is not None else None
    raise ValueError(f"{metric} is not known image by image")


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
