"""What a run took: device hours, and of which device."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from itertools import pairwise
from typing import Any

from cam_lightning.report.run_record import RunRecord


def hours(run: RunRecord) -> float | None:
    """Hours from a run's start to its end, times its GPUs; without the time that it stood still, cut off.

    That is from the last number that was logged before it went on, until it went on. Of a run on CPUs hours of the
    machine. None where its files do not say.
    """
    environment, path = _environment(run), run.path / "metrics.csv"
    try:
        begun = [piece.get("time") for piece in (*(environment.get("earlier") or ()), environment)]
        times = [*begun, run.status.get("time")]
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                times += [row.get("time") for row in csv.DictReader(file)]
        starts, moments = (
            {datetime.fromisoformat(text).timestamp() for text in each if text} for each in (begun, times)
        )
    except (AttributeError, TypeError, ValueError, OSError, csv.Error):
        return None
    if len(moments) < 2:
        return None
    worked = sum(after - before for before, after in pairwise(sorted(moments)) if after not in starts)
    return worked * (_num_devices(run) if _gpus(run) else 1) / 3600


def device(run: RunRecord) -> str:
    """`2 × NVIDIA H100`, or `CPU, 2 cores`; empty where the run does not say."""
    found = _environment(run).get("devices") or {}
    gpus = _gpus(run)
    if gpus:
        return f"{_num_devices(run)} × {gpus[0]}"
    cores = found.get("cores")
    return f"CPU, {cores} core{'' if cores == 1 else 's'}" if cores is not None else ""


def _gpus(run: RunRecord) -> list[str]:
    """The names of the GPUs that it could see, if it ran on them."""
    if (run.config.get("trainer") or {}).get("accelerator") == "cpu":
        return []
    return [str(name) for name in (_environment(run).get("devices") or {}).get("gpu") or []]


def _num_devices(run: RunRecord) -> int:
    trainer = run.config.get("trainer") or {}
    return int(trainer.get("devices") or 1) * int(trainer.get("num_nodes") or 1)


def _environment(run: RunRecord) -> dict[str, Any]:
    try:
        content = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
