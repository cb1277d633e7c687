"""From a table to its commands, and from these to finished runs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cam_lightning.run.directory import RunDirectory
from experiments.kept import tell_if_made_otherwise
from experiments.paper.table import Run, Table


class Job(NamedTuple):
    """One run with one seed."""

    run: Run
    seed: int
    path: Path
    command: tuple[str, ...]
    """The entry point and its overrides, but for its directory."""
    lacks: str = ""
    """Why it cannot be run; empty: it can."""

    @property
    def said(self) -> str:
        """As a person types it."""
        entry, *overrides = self.command
        return shlex.join(["python", "-m", f"cam_lightning.{entry}", *overrides, f"run_dir={self.path}"])


def planned(
    table: Table,
    folder: Path,
    options: Sequence[str],
    weights: Mapping[str, Path],
    seeds: Sequence[int],
    only: Sequence[str] = (),
) -> list[Job]:
    """Every job of a table in an order in which they can be run, seed by seed.

    Published weights have the first seed alone, since nothing of theirs is random. Raises ValueError for no seed, and
    for a run that the table has not.
    """
    if not seeds:
        raise ValueError("--seeds needs a number at least")
    names = [run.name for run in table.runs]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ValueError(f"{table.name} has no run {unknown[0]}; it has {', '.join(names)}")
    needed = {*only, *(table.run(name).of for name in only)}
    jobs = []
    for seed in seeds:
        for run in table.runs:
            is_random = run.entry == "train" or bool(run.of)
            if (is_random or seed == seeds[0]) and (not only or run.name in needed):
                jobs.append(_job(table, run, seed, folder, options, weights))
    return jobs


def _job(table: Table, run: Run, seed: int, folder: Path, options: Sequence[str], weights: Mapping[str, Path]) -> Job:
    command = [run.entry, *run.options, *options]
    if run.of:
        # The dataset is the checkpoint's own, whose options the command line does not know.
        options = [f"++{option}" if option.startswith("dataset.") else option for option in options]
        command = [run.entry, f"checkpoint={folder / run.of / str(seed)}", *run.options, *options]
        needs = table.run(run.of).weights
    else:
        needs = run.weights
        if needs in weights:
            command.append(f"backbone.weights={weights[needs]}")
    if run.entry == "train":
        command.append(f"seed={seed}")
    lacks = f"no weights were given: --weights {needs}=FILE" if needs and needs not in weights else ""
    return Job(run, seed, folder / run.name / str(seed), tuple(command), lacks)


def state(path: Path) -> str:
    """`finished`, `running`, `failed` …, or `` where there is no run."""
    return str(RunDirectory(path).read_status().get("state", ""))


def run_missing(jobs: Sequence[Job]) -> bool:
    """Runs every job that is not finished and can be, and goes on after one that fails; whether all are finished.

    A line says of a finished one that it was made with other options than those given now.
    A training that was cut off is resumed; an evaluation is made anew.
    """
    complete = True
    for number, job in enumerate(jobs, start=1):
        if state(job.path) == "finished":
            tell_if_made_otherwise(job.path, job.command)
            continue
        lacks = job.lacks
        if not lacks and job.run.of and state(job.path.parents[1] / job.run.of / str(job.seed)) != "finished":
            lacks = f"{job.run.of}, seed {job.seed}, is not finished"
        if lacks:
            print(f"[{number}/{len(jobs)}] {job.run.name}, seed {job.seed}: left out, {lacks}", flush=True)
            complete = False
            continue
        entry, *overrides = job.command
        command = [sys.executable, "-m", f"cam_lightning.{entry}"]
        if entry == "train" and list((job.path / "checkpoints").glob("*.ckpt")):
            command.append(f"resume={job.path}")
        else:
            if (job.path / "status.json").is_file():
                shutil.rmtree(job.path)
            command += [*overrides, f"run_dir={job.path}"]
        print(f"\n[{number}/{len(jobs)}] {job.run.name}, seed {job.seed}: {job.said}", flush=True)
        complete &= subprocess.run(command, check=False).returncode == 0
    return complete
