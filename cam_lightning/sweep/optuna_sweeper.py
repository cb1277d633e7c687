"""Sweeps whose jobs Optuna proposes, each from the results of those before it; the study is a file in the folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from cam_lightning.run.choice import nearest
from cam_lightning.run.range import in_range
from cam_lightning.sweep.job import STOPPED, state_of, wait_for
from cam_lightning.sweep.sweeper import JobSweeper, job_directory

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial


class OptunaSweeper(JobSweeper):
    """Proposes `num_trials` jobs in all, those of earlier runs of the same sweep included.

    `objective` is any key of `results.json`, or one that was logged while training (its last value). Where `direction`
    is None, the objective's spec says which way is better; the study, which must know before there is any result,
    then minimises, and holds the negative of what is better higher. A proposal
    is a function of `seed`, its number and the results known, so that a resumed study goes on as it would have.
    """

    def __init__(
        self,
        objective: str,
        direction: Literal["minimize", "maximize"] | None,
        num_trials: int,
        jobs_at_once: int,
        sampler: str,
        seed: int,
    ) -> None:
        if direction not in ("minimize", "maximize", None):
            raise ValueError(f"hydra.sweeper.direction is minimize, maximize or null; got {direction!r}")
        if sampler not in ("tpe", "random"):
            raise ValueError(f"hydra.sweeper.sampler is tpe or random; got {sampler!r}")
        for name, number, allowed in (
            ("num_trials", num_trials, "whole, >= 1"),
            ("jobs_at_once", jobs_at_once, "whole, >= 1"),
            ("seed", seed, "whole, >= 0, <= 4294967295"),
        ):
            if not in_range(number, allowed):
                raise ValueError(f"hydra.sweeper.{name} is {allowed}; got {number!r}")
        self.objective = objective
        self.sign = 1
        """-1 where the study holds the negative of the objective; its attribute of that name says so too."""
        self.direction = direction
        self.num_trials = num_trials
        self.jobs_at_once = jobs_at_once
        self.sampler = sampler
        self.seed = seed

    def run(self, overrides: list[Override]) -> None:
        space = [override for override in overrides if override.is_sweep_override()]
        fixed = [override.input_line or "" for override in overrides if not override.is_sweep_override()]
        if not space:
            raise HydraException(
                "Optuna has nothing to choose: give values (a,b), range(…), interval(low,high) or "
                "tag(log,interval(low,high)) for at least one option"
            )
        if self.launcher is None:
            # Composes one job, so that what cannot work is said before there is a folder.
            self.validate_batch_is_legal([[*fixed, *(_first(override) for override in space)]])
            self.launcher = self._open()
        study = self._study(fixed, space)
        trials = self._begun(study)
        while (trials or len(study.trials) < self.num_trials) and not (self.folder / STOPPED).exists():
            while len(trials) < self.jobs_at_once and len(study.trials) < self.num_trials:
                study.sampler = self._sampler(len(study.trials))
                trials.append(study.ask())
            batch, trials = trials[: self.jobs_at_once], trials[self.jobs_at_once :]
            jobs = [[*fixed, *(f"{_key(one)}={suggested(trial, one)}" for one in space)] for trial in batch]
            # Those that outlived a sweep that was killed, or of one that runs at the same time: their results count.
            wait_for([job_directory(self.folder, job, self.swept) for job in jobs])
            for trial, directory in zip(batch, self.launch(jobs), strict=True):
                self._tell(study, trial, directory)
        done = [trial for trial in study.trials if trial.value is not None]
        if done:
            best = study.best_trial
            value = study.user_attrs.get("sign", 1) * (best.value or 0.0)
            print(f"\nbest of {len(study.trials)} trials: {self.objective} = {value:g} with {best.params}")

    def _study(self, fixed: list[str], space: list[Override]) -> Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            study_name="sweep",
            storage=JournalStorage(JournalFileBackend(str(self.folder / "study.journal"))),
            direction=self.direction or "minimize",
            load_if_exists=True,
        )
        # Results of other questions must not guide this one.
        about = {
            "objective": self.objective,
            "direction": self.direction,
            "fixed": sorted(one for one in fixed if one.partition("=")[0] not in ("sweep", "on_error")),
            "space": sorted(override.input_line or "" for override in space),
        }
        if study.user_attrs.setdefault("about", about) != about:
            raise HydraException(
                f"the study in {self.folder} was made with {study.user_attrs['about']}, and this one is {about}; "
                "give it another name: sweep=NAME"
            )
        study.set_user_attr("about", about)
        return study

    def _begun(self, study: Study) -> list[Trial]:
        """Trials that were proposed and have no result, because they failed or the sweep was killed."""
        from optuna.trial import Trial, TrialState

        study.sampler = self._sampler(len(study.trials))
        # Optuna has no public way to take up a trial of a process that died.
        return [Trial(study, trial._trial_id) for trial in study.get_trials(states=(TrialState.RUNNING,))]

    def _sampler(self, number: int) -> Any:
        from optuna.samplers import RandomSampler, TPESampler

        seed = (self.seed * 1_000_003 + number) % 2**32
        if self.sampler == "random":
            return RandomSampler(seed=seed)
        # With several at once, trials that still run count as bad ones, so that proposals keep apart.
        return TPESampler(seed=seed, constant_liar=self.jobs_at_once > 1)

    def _tell(self, study: Study, trial: Trial, directory: Path) -> None:
        """Ends a trial whose job is finished; any other is left for the next time that the sweep is run."""
        from optuna.trial import TrialState

        if state_of(directory) != "finished":
            return
        value = self._result(directory)
        if value is None:
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        else:
            study.set_user_attr("sign", self.sign)
            study.tell(trial, self.sign * value, skip_if_finished=True)

    def _result(self, directory: Path) -> float | None:
        """The objective; None where it is not finite. Raises HydraException where the run has no such result."""
        from cam_lightning.report.run_record import read_run
        from cam_lightning.report.split_results import spec_of

        record = read_run(directory)
        values = record.last_values | record.numbers
        if self.objective not in values:
            raise HydraException(
                f"hydra.sweeper.objective={self.objective} is no result of {directory.name}; "
                f"there is: {nearest(self.objective, values)}"
            )
        better = spec_of(self.objective, record.specs).better
        if self.direction is None and better is None:
            raise HydraException(
                f"nothing says whether {self.objective} is better lower or higher: "
                "give hydra.sweeper.direction=minimize or maximize"
            )
        self.sign = -1 if self.direction is None and better == "higher" else 1
        value = values[self.objective]
        return value if value is not None and math.isfinite(value) else None


def suggested(trial: Trial, override: Override) -> str:
    """Optuna's value for one option, as Hydra's grammar writes it.

    Values (`a,b`) are categories, `range` keeps its order and steps, `interval` is continuous, or of integers
    where both ends are cast to such; `tag(log, …)` searches the logarithm.
    """
    key, sweep = _key(override), override.value()
    if isinstance(sweep, IntervalSweep):
        log = "log" in sweep.tags
        if isinstance(sweep.start, int) and isinstance(sweep.end, int):
            return str(trial.suggest_int(key, sweep.start, sweep.end, log=log))
        return repr(trial.suggest_float(key, float(sweep.start or 0), float(sweep.end or 0), log=log))
    if isinstance(sweep, RangeSweep):
        values = list(sweep.range())
        if all(isinstance(value, int) for value in values):
            return str(trial.suggest_int(key, min(values), max(values), step=abs(int(sweep.step))))
        return repr(trial.suggest_float(key, min(values), max(values), step=abs(float(sweep.step))))
    assert isinstance(sweep, ChoiceSweep)
    return str(trial.suggest_categorical(key, list(override.sweep_string_iterator())))


def _key(override: Override) -> str:
    return override.get_key_element()


def _first(override: Override) -> str:
    """Some value of a search space, to see whether a job composes."""
    sweep = override.value()
    value = sweep.start if isinstance(sweep, IntervalSweep) else next(iter(override.sweep_string_iterator()))
    return f"{_key(override)}={value}"
