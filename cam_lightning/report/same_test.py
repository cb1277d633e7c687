"""What may stand in one table: runs on the same test images by one overlap, and boxes that see nothing of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from cam_lightning.dataset.pipeline.split import fingerprint
from cam_lightning.report.run_record import RunRecord
from cam_lightning.report.split_results import arm_in_words
from cam_lightning.run.prediction_table import read_predictions, table_file


def by_test_images(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Title → the runs on one set of test images: of one dataset, equally many, and the same by `predictions.csv`.

    Two subsets of ILSVRC may well have 500 photos each. A run that kept no predictions goes with the others, unless
    these are of several sets. Runs of another `hit_iou` are others: a box that hits at 0.3 may miss at 0.5.
    """
    overlaps = {run.hit_iou for run in runs}
    found: dict[str, dict[str, list[RunRecord]]] = {}
    for run in runs:
        data = str(_dataset(run).get("_target_", "unknown data")).rpartition(".")[2]
        title = f"{data}, {run.numbers.get('test/num_images') or 0:,.0f} test images"
        title += f", hits from IoU {run.hit_iou:g} on" if len(overlaps) > 1 else ""
        found.setdefault(title, {}).setdefault(_images(run), []).append(run)
    boards: dict[str, list[RunRecord]] = {}
    for title, sets in found.items():
        if len(sets.keys() - {""}) < 2:
            boards[title] = [run for run in runs if any(run in each for each in sets.values())]
            continue
        for number, (images, own) in enumerate(sets.items(), start=1):
            boards[f"{title}, {f'set {number}: ' if images else 'not known which: '}{_places(own)}"] = own
    return boards


def baselines_by_size(runs: Sequence[RunRecord], arms: Iterable[str]) -> Iterator[tuple[str, str, list[RunRecord]]]:
    """Name, arm and runs of every box that sees nothing; where runs have it in several sizes, of each size."""
    for arm in arms:
        by_size: dict[Any, list[RunRecord]] = {}
        for run in runs:
            if any(run.specs[key].arm == arm for key in run.numbers if key in run.specs):
                by_size.setdefault(run.results.get(f"protocol/{arm}"), []).append(run)
        for size, own in by_size.items():
            is_said = len(by_size) > 1 and isinstance(size, int | float)
            yield arm_in_words(arm) + (f" of {size:g}" if is_said else ""), arm, own


def _images(run: RunRecord) -> str:
    """What tells whether two runs have the same test images, wherever these lie; empty where that is not known.

    With its class each: `image_0001.jpg` is in every folder of Caltech-101.
    """
    try:
        rows = list(read_predictions(table_file(run.path, "test"), ("id", "label_name")))
    except (OSError, ValueError):
        return ""
    files = ((row.label_name, PurePosixPath(row.id)) for row in rows)
    names = sorted(f"{name}/{file.name if file.suffix else file}" for name, file in files)
    return fingerprint(names) if names else ""


def _places(runs: Iterable[RunRecord]) -> str:
    """The names of the folders and archives that the images were read from."""
    return ", ".join(dict.fromkeys(PurePosixPath(str(_dataset(run).get("root", "no root"))).name for run in runs))


def _dataset(run: RunRecord) -> dict[str, Any]:
    return run.config.get("dataset") or {}
