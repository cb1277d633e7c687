"""Which runs are meant by folders: runs themselves, sweeps, and whatever holds some of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from cam_lightning.report.run_record import RunRecord, read_run

_DEEPEST = 4
"""Of a run below the folder that is given: `imagenette`, `googlenet_gap` and `0` of `runs/paper/imagenette/…/0`."""
_REPLACED = "earlier"
"""What a sweep calls the folder of the runs that it did anew."""


def find_runs(folders: Iterable[Path]) -> list[RunRecord]:
    """The run directories among `folders` and below them, those of sweeps too, each once; without replaced ones.

    Raises ValueError for a folder that has none.
    """
    found: list[Path] = []
    for folder in folders:
        runs = list(_runs_below(folder, _DEEPEST))
        if not runs:
            raise ValueError(f"{folder} is neither a run's directory nor a folder of such (none has a status.json)")
        found += [run for run in runs if run not in found]
    return [read_run(path) for path in found]


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    if _is_run(folder):
        yield folder
    elif depth and folder.is_dir():
        for path in sorted(path for path in folder.iterdir() if path.is_dir()):
            if _is_run(path) or not (path.name == _REPLACED or path.name.startswith(".")):
                yield from _runs_below(path, depth - 1)


def _is_run(path: Path) -> bool:
    return (path / "status.json").is_file()
