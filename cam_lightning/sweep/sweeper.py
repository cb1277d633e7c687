"""A sweep (`-m`): many jobs of one command in one folder, which the same command completes, and one table."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, read_write

from cam_lightning.run.directory import RunDirectory, require_outside_of_runs
from cam_lightning.run.override import assign, key_of
from cam_lightning.sweep.job import STOPPED, is_running, queue, record_end, state_of, wait_for

_OF_THE_SWEEP = ("sweep", "on_error")
"""Options that say how jobs are run, not which."""


class JobSweeper(Sweeper):
    """What every sweeper of ours does: folders that follow from overrides, only what is not finished, the table."""

    hydra_context: HydraContext

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config: DictConfig = config
        self.launcher: Launcher | None = None
        self.jobs: list[Path] = []

    def sweep(self, arguments: list[str]) -> None:
        """Runs every job; ends the process with code 1 where one is not finished afterwards."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides(arguments)
        if self.config.on_error not in ("continue", "stop"):
            sys.exit(f"error: on_error is continue or stop; got {self.config.on_error!r}")
        if any(override.get_key_element() == "run_dir" for override in overrides):
            sys.exit("error: run_dir is one run's directory; the folder of a sweep is sweep=NAME, below paths.runs")
        self.swept = [override.get_key_element() for override in overrides if override.is_sweep_override()]
        # What the sweep itself was composed with stands in for what is swept; it is of no job.
        stand_ins = [one for one in overrides if one.get_key_element() in self.swept and not one.is_sweep_override()]
        overrides = [one for one in overrides if one not in stand_ins]
        self.given = [each for each in sys.argv[1:] if each not in {one.input_line for one in stand_ins}]
        try:
            self.run(overrides)
        except OSError as error:
            sys.exit(f"error: {error}")
        except HydraException as error:
            # Of what cannot be composed Hydra has a form of its own; of these, which are ours, it shows a traceback.
            if type(error) is not HydraException:
                raise
            sys.exit(f"error: {error}")
        finally:
            if self.jobs:
                self.show_results()
        jobs = set(self.jobs)
        left = [job for job in jobs if state_of(job) != "finished"]
        if left:
            sys.exit(f"error: {len(left)} of {len(jobs)} jobs not finished; the same command tries them again")

    def run(self, overrides: list[Override]) -> None:
        """Chooses the jobs, and hands them to `launch`."""
        raise NotImplementedError

    def launch(self, jobs: Sequence[Sequence[str]]) -> list[Path]:
        """Runs the jobs that are not finished, and returns the directory of each; the first call opens the folder.

        Jobs that the same command runs elsewhere at the same time are left to it, and waited for.

        Raises HydraException where a job cannot be composed, before any is begun.
        """
        self.validate_batch_is_legal(jobs)
        if self.launcher is None:
            self.launcher = self._open()
        directories = [job_directory(self.folder, job, self.swept) for job in jobs]
        self.jobs += directories
        left = [(list(job), path) for job, path in zip(jobs, directories, strict=True) if _is_left(path)]
        waiting = [
            [*(one for one in job if key_of(one) != "sweep"), assign("sweep", self.name), assign("run_dir", path)]
            for job, path in left
        ]
        command = shlex.join(["python", "-m", f"cam_lightning.{self.config.hydra.job.name}", *self.given])
        for directory in directories:
            queue(directory, command)
        if waiting:
            with _losses_as_results("submitit" in str(self.config.hydra.launcher.get("_target_"))):
                returned = self.launcher.launch(waiting, initial_job_idx=len(self.jobs) - len(directories))
            for (_, path), one in zip(left, returned, strict=True):
                if not isinstance(one, Exception):
                    # Raises what kept a job from being started; how it went is in its directory.
                    _ = one.return_value
                elif not is_running(path):
                    said = " ".join(str(one).splitlines()[:2])
                    record_end(path, self.config.on_error, f"the cluster lost the job: {said}", cause=one)
        wait_for(directories)
        return directories

    def _open(self) -> Launcher:
        """The folder that `sweep=NAME` names, or a fresh one, and the launcher that works in it."""
        root = Path(self.config.paths.runs).expanduser().absolute()
        if self.config.sweep is None:
            self.folder = RunDirectory.create(root, "sweep").path
            self.name = self.folder.name
        else:
            self.name = str(self.config.sweep)
            self.folder = _below(root, self.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / STOPPED).unlink(missing_ok=True)
        # The node itself: from Hydra 1.4 on `hydra` is read-only apart from the configuration that it is part of.
        with read_write(self.config.hydra.sweep):
            self.config.hydra.sweep.dir = str(self.folder)
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=self.task_function, config=self.config
        )

    def show_results(self) -> None:
        """Prints the table over all jobs in the folder, and leaves it there with its page."""
        from cam_lightning.report.__main__ import write_reports

        print()
        try:
            write_reports([self.folder], self.folder, None, None, shown="text")
            print(f"\n{self.folder / 'report.html'}")
        except OSError as error:
            # What the jobs have written stands; the table can be had again.
            print(f"\nthe table's page could not be written: {error}", file=sys.stderr)
        print(self.folder, flush=True)


class GridSweeper(JobSweeper):
    """Every combination of the values that were given, in their order; the last changes fastest."""

    def run(self, overrides: list[Override]) -> None:
        self.launch([list(job) for job in itertools.product(*(_values(override) for override in overrides))])


def _values(override: Override) -> list[str]:
    """One override, or one for each of its values."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if not override.is_discrete_sweep():
        raise HydraException(f"{override.input_line}: a grid needs values, not an interval; or hydra/sweeper=optuna")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def job_directory(folder: Path, overrides: Sequence[str], swept: Sequence[str]) -> Path:
    """The directory of the job with these overrides, in whatever order: `backbone-vgg16_gap_seed-2_1c9f0a2b`.

    Readable by what was swept, and unique by all that was given; a job that is in the folder is found again.
    """
    given = [one for one in overrides if key_of(one) not in _OF_THE_SWEEP]
    digest = hashlib.sha256("\n".join(sorted(given)).encode()).hexdigest()[:8]
    pairs = [one.partition("=")[::2] for one in given if key_of(one) in swept]
    readable = "_".join(f"{re.split('[./]', key.lstrip('+'))[-1]}-{value}" for key, value in pairs)
    readable = re.sub(r"[^A-Za-z0-9.+-]+", "_", readable)[:120].strip("._")
    found = next(folder.glob(f"*_{digest}"), None)
    return found or folder / f"{readable or 'job'}_{digest}"


def _below(root: Path, name: str) -> Path:
    """The folder that a sweep's name means; HydraException where it would not lie below the folder of runs."""
    folder = Path(os.path.normpath(root / name))
    if root not in folder.parents:
        raise HydraException(f"sweep={name} is no folder below paths.runs={root}; another place is paths.runs=FOLDER")
    require_outside_of_runs(folder / "job")
    return folder


@contextmanager
def _losses_as_results(is_submitit: bool) -> Iterator[None]:
    """Makes the error of a job that submitit has lost (cancelled, killed, its node down) that job's result.

    Hydra's launcher asks one job after another for its result, and the first error would leave all the others.
    """
    if not is_submitit:
        yield
        return
    from submitit import Job
    from submitit.core.utils import UncompletedJobError

    results = Job.results

    def results_or_loss(job: Any) -> list[Any]:
        try:
            return results(job)
        except UncompletedJobError as error:
            return [error]

    Job.results = results_or_loss  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Job.results = results  # type: ignore[method-assign]


def _is_left(directory: Path) -> bool:
    """Whether a job must be run, now and by us; says so where not."""
    if state_of(directory) == "finished":
        print(f"finished before, so skipped: {directory.name}", flush=True)
        return False
    if is_running(directory):
        print(f"still runs, so skipped: {directory.name}", flush=True)
        return False
    return True


def register_sweepers() -> None:
    """Tells Hydra of `hydra/sweeper=grid` and `optuna`."""
    folder = str(Path(__file__).parent / "plugins")
    if folder not in sys.path:
        sys.path.append(folder)
    # Named as well as found: Hydra may have looked around before.
    plugins = importlib.import_module("hydra_plugins.cam_lightning")
    for sweeper in (plugins.GridSweeper, plugins.OptunaSweeper):
        Plugins.instance().register(sweeper)
