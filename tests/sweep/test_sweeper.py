"""Sweeps from the command line, with a stand-in for the processes of the jobs; whole ones are in test_sweep_runs."""

from __future__ import annotations

import itertools
import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from cam_lightning.launch.entry_point import entry_point
from cam_lightning.run.directory import RUN_DIR_VARIABLE
from cam_lightning.run.lock import try_lock
from cam_lightning.sweep import job as job_module
from cam_lightning.sweep.job import lock_of, state_of
from cam_lightning.sweep.sweeper import job_directory

# A sweep says nothing of Hydra's or OmegaConf's own, whatever their versions.
pytestmark = pytest.mark.filterwarnings("error::UserWarning")

Options = dict[str, Any]


class Sweeps:
    """`python -m cam_lightning.train -m …` in this process; each job's process is a call of `work`."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        self.started: list[tuple[list[str], Options, dict[str, str]]] = []
        self.work: Callable[[Options], float] = lambda options: 0.5

    def process(self, command: list[str], env: dict[str, str], **pipes: Any) -> Any:
        """As `subprocess.Popen`; `work` gives the job's error, or raises what makes it fail."""
        parsed = OverridesParser.create().parse_overrides(command[3:])
        options = {override.get_key_element(): override.value() for override in parsed}
        self.started.append((command, options, env))
        sweeps = self

        class Process:
            code: int | None = None

            def wait(self) -> int:
                if self.code is None:
                    # What a job that is interrupted answers when it is waited for again.
                    self.code = -signal.SIGINT
                    self.code = sweeps.end(options)
                return self.code

            def send_signal(self, number: int) -> None:
                """It ends by itself."""

        return Process()

    def end(self, options: Options) -> int:
        if "resume" in options:
            assert list(options) == ["resume"]
            directory = Path(options["resume"])
            options = {**yaml.safe_load((directory / "config.yaml").read_text()), **options}
        else:
            directory = Path(options["run_dir"])
            assert directory.is_dir()
            assert list(directory.iterdir()) == [], "a job begins in an empty directory"
        (directory / "config.yaml").write_text(yaml.safe_dump(options))
        (directory / "status.json").write_text('{"state": "running"}')
        try:
            error = self.work(options)
        except ProcessLookupError:
            return -signal.SIGKILL
        except ValueError as problem:
            status = {"state": "failed", "traceback": f"Traceback\nValueError: {problem}"}
            (directory / "status.json").write_text(json.dumps(status))
            return 1
        (directory / "results.json").write_text(json.dumps({"test/localization_error/top1": error}))
        (directory / "status.json").write_text('{"state": "finished"}')
        return 0

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, output and errors; `started` then holds this sweep's jobs."""
        self.started = []
        self.monkeypatch.setattr(sys, "argv", ["train.py", "-m", "trainer=cpu", f"paths.runs={self.root}", *arguments])
        code: Any = 0
        try:
            entry_point("train")()
        except SystemExit as stop:
            code = stop.code
        written = self.capsys.readouterr()
        message = "" if isinstance(code, int) else f"{code}\n"
        return (code if isinstance(code, int) else 1), written.out, written.err + message

    def options(self, *keys: str) -> list[tuple[Any, ...]]:
        return [tuple(options[key] for key in keys) for _, options, _ in self.started]

    def directories(self) -> list[Path]:
        return [Path(options["run_dir"]) for _, options, _ in self.started]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sweeps:
    for variable in (RUN_DIR_VARIABLE, "LOCAL_RANK", "RANK", "SLURM_PROCID"):
        # Set first, so that what a sweep sets is taken back too.
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    sweeps = Sweeps(tmp_path / "it's = runs", monkeypatch, capsys)
    monkeypatch.setattr(job_module.subprocess, "Popen", sweeps.process)
    return sweeps


FOUR = ("backbone=googlenet_gap,vgg16_gap", "seed=1,2", "sweep=four")


def test_every_combination_is_a_job_in_a_process_and_directory_of_its_own(
    sweep: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("MASTER_PORT", "12345")
    monkeypatch.setenv(RUN_DIR_VARIABLE, "/another/run")
    monkeypatch.setenv("LOCAL_RANK", "0")
    # As in a batch script: Lightning would take the job for SLURM's one task, and start no other.
    for variable in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_JOB_ID"):
        monkeypatch.setenv(variable, "1")
    code, output, _ = sweep(*FOUR)
    assert code == 0
    assert sweep.options("backbone", "seed") == list(itertools.product(["googlenet_gap", "vgg16_gap"], [1, 2]))
    folder = sweep.root / "four"
    for (command, options, environment), directory in zip(sweep.started, sweep.directories(), strict=True):
        assert command[:3] == [sys.executable, "-m", "cam_lightning.train"]
        assert not {"-m", "--multirun"} & set(command[3:])
        assert not {"RANK", "LOCAL_RANK", "MASTER_PORT", RUN_DIR_VARIABLE} & environment.keys()
        assert not {"SLURM_NTASKS", "SLURM_PROCID"} & environment.keys()
        assert environment["SLURM_JOB_ID"] == "1", "what is said of the allocation stays"
        assert options["sweep"] == "four", "what Weights & Biases groups by"
        assert options["trainer"] == "cpu"
        assert directory.parent == folder
        expected = rf"backbone-{options['backbone']}_seed-{options['seed']}_[0-9a-f]{{8}}"
        assert re.fullmatch(expected, directory.name)
    assert len(set(sweep.directories())) == 4
    assert output.splitlines()[-1] == str(folder)
    assert "50.00 ± 0.00 %" in output
    assert (folder / "report.html").is_file()
    assert (folder / "results.csv").read_text().count("\n") == 3


def test_a_failure_leaves_the_others_and_is_all_that_the_next_time_runs(sweep: Sweeps) -> None:
    def work(options: Options) -> float:
        if (options["backbone"], options["seed"]) == ("vgg16_gap", 1):
            raise ValueError("the loss is nan")
        return 0.25

    sweep.work = work
    code, output, errors = sweep(*FOUR)
    assert code == 1
    assert len(sweep.started) == 4
    failed = sweep.directories()[2]
    assert f"failed: {failed.name}: ValueError: the loss is nan" in output
    assert [state_of(path) for path in sweep.directories()] == ["finished", "finished", "failed", "finished"]
    assert "error: 1 of 4 jobs not finished; the same command tries them again" in errors

    code, output, _ = sweep(*FOUR)
    assert code == 1
    assert sweep.directories() == [failed]
    assert output.count("finished before, so skipped: ") == 3

    sweep.work = lambda options: 0.5
    code, output, _ = sweep(*FOUR)
    assert code == 0
    assert sweep.directories() == [failed]
    assert state_of(failed) == "finished"
    assert sorted(path.name for path in (sweep.root / "four" / "earlier").iterdir()) == [
        f"{failed.name}.1",
        f"{failed.name}.2",
    ]

    assert sweep(*FOUR)[0] == 0
    assert sweep.started == []


def test_stop_lets_nothing_begin_after_a_failure(sweep: Sweeps) -> None:
    def work(options: Options) -> float:
        if options["seed"] == 2:
            raise ValueError("no")
        return 0.5

    sweep.work = work
    arguments = ("seed=1,2,3,4", "on_error=stop", "sweep=stopping")
    code, output, errors = sweep(*arguments)
    assert code == 1
    assert sweep.options("seed") == [(1,), (2,)]
    assert "3 of 4 jobs not finished" in errors
    states = {path.name.split("_")[0]: state_of(path) for path in (sweep.root / "stopping").glob("seed-*")}
    assert states == {"seed-1": "finished", "seed-2": "failed", "seed-3": "queued", "seed-4": "queued"}
    assert "queued: seed-3" in output

    sweep.work = lambda options: 0.5
    assert sweep(*arguments)[0] == 0
    assert sweep.options("seed") == [(2,), (3,), (4,)]


def test_a_process_that_was_killed_is_a_failure_that_says_so(sweep: Sweeps) -> None:
    def work(options: Options) -> float:
        raise ProcessLookupError

    sweep.work = work
    code, output, _ = sweep("seed=1,2")
    assert code == 1
    assert output.count("ChildProcessError: the job's process was ended by SIGKILL") == 2
    assert [state_of(path) for path in sweep.directories()] == ["failed", "failed"]


def test_a_job_that_was_killed_goes_on_from_its_checkpoint(sweep: Sweeps) -> None:
    def work(options: Options) -> float:
        if "resume" in options:
            return 0.25
        directory = Path(options["run_dir"])
        (directory / "checkpoints").mkdir()
        (directory / "checkpoints" / "last.ckpt").touch()
        raise ProcessLookupError

    sweep.work = work
    assert sweep("seed=1", "sweep=s")[0] == 1
    (directory,) = sweep.directories()
    assert state_of(directory) == "failed"
    code, output, _ = sweep("seed=1", "sweep=s")
    assert code == 0
    assert sweep.options("resume") == [(str(directory),)]
    assert f"goes on: {directory.name}" in output
    assert not (directory.parent / "earlier").exists()


def test_a_sweep_without_a_name_has_a_folder_of_its_own_each_time(sweep: Sweeps) -> None:
    folders = []
    for _ in range(2):
        assert sweep("seed=1")[0] == 0
        folders += [path.parent for path in sweep.directories()]
        assert sweep.options("sweep") == [(folders[-1].name,)]
    assert folders[0] != folders[1]
    assert {folder.parent for folder in folders} == {sweep.root}


def test_a_sweep_can_grow_and_other_options_are_other_jobs(sweep: Sweeps) -> None:
    sweep("seed=1", "sweep=s")
    sweep("seed=1,2", "sweep=s")
    assert sweep.options("seed") == [(2,)]
    sweep("seed=1,2", "trainer.max_epochs=3", "sweep=s")
    assert sweep.options("seed") == [(1,), (2,)]
    sweep("trainer.max_epochs=3", "sweep=s", "on_error=stop", "seed=2,1")
    assert sweep.started == [], "neither the order nor how failures are met makes another job"


@pytest.mark.parametrize("end", ["finished", "failed"])
def test_a_job_that_still_runs_is_left_alone_and_waited_for(
    sweep: Sweeps, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    sweep.work = lambda options: 0.5 if options["seed"] == 1 else (_ for _ in ()).throw(ProcessLookupError())
    sweep("seed=1,2", "sweep=s")
    running = sweep.directories()[1]
    lock = try_lock(lock_of(running))
    assert lock is not None

    def elapse(seconds: float) -> None:
        """By then the other process is through."""
        (running / "status.json").write_text(json.dumps({"state": end}))
        (running / "results.json").write_text(json.dumps({"test/localization_error/top1": 0.25}))
        lock.close()

    monkeypatch.setattr(job_module.time, "sleep", elapse)
    code, output, _ = sweep("seed=1,2", "sweep=s")
    assert code == (end != "finished")
    assert sweep.started == []
    assert f"still runs, so skipped: {running.name}" in output
    assert f"run elsewhere, so waited for: {running.name}" in output


def test_a_job_that_another_sweep_begins_is_not_queued(sweep: Sweeps) -> None:
    """It has an empty directory at that moment, which must stay so."""
    seen = []

    def work(options: Options) -> float:
        directory = Path(options["run_dir"])
        others = (directory / "status.json").read_bytes()
        (directory / "status.json").unlink()
        job_module.queue(directory, "the same command, elsewhere")
        seen.append((directory / "status.json").exists())
        (directory / "status.json").write_bytes(others)
        return 0.5

    sweep.work = work
    # The job's process inherits the lock; this one stands for it.
    code, _, _ = sweep("seed=1,2", "sweep=s")
    assert (code, seen) == (0, [False, False])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("seed=1,2", "run_dir=/x"), "error: run_dir is one run's directory; the folder of a sweep is sweep=NAME"),
        (("seed=1,2", "sweep=../elsewhere"), "sweep=../elsewhere is no folder below paths.runs="),
        (("seed=1,2", "sweep=/elsewhere"), "sweep=/elsewhere is no folder below paths.runs="),
        (("seed=1,2", "sweep=."), "sweep=. is no folder below paths.runs="),
        (("hydra/sweeper=optuna", "seed=1,2", "sweep=x/../.."), "sweep=x/../.. is no folder below paths.runs="),
        (("seed=1,2", "on_error=ignore"), "error: on_error is continue or stop; got 'ignore'"),
        (("seed=1,2", "trainer.device=2"), "Did you mean trainer.devices?"),
        (("backbone=googlenet_gap,vgg17", "seed=1"), "vgg17"),
        (("method.learning_rate=interval(0.1,0.2)",), "a grid needs values, not an interval"),
        (("hydra/sweeper=optuna", "seed=1"), "Optuna has nothing to choose"),
        (("hydra/sweeper=optuna", "hydra.sweeper.direction=up", "seed=1,2"), "direction is minimize, maximize or null"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_made(sweep: Sweeps, arguments: tuple[str, ...], says: str) -> None:
    code, output, errors = sweep(*arguments)
    assert code == 1
    assert says in output + errors
    assert sweep.started == []
    assert not sweep.root.exists()


def test_a_sweep_s_name_may_have_a_comma(sweep: Sweeps) -> None:
    """It is one folder, which need not be there yet."""
    assert sweep("seed=1,2", "sweep=one, two")[0] == 0
    assert len(list((sweep.root / "one, two").glob("*/results.json"))) == 2


def test_a_sweep_never_lies_inside_a_run(sweep: Sweeps) -> None:
    run = sweep.root / "run"
    run.mkdir(parents=True)
    for name in ("config.yaml", "status.json"):
        (run / name).write_text("{}")
    code, _, errors = sweep("seed=1,2", "sweep=run")
    assert (code, sweep.started) == (1, [])
    assert "the directory of another run" in errors
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml", "status.json"]


def test_a_folder_that_cannot_be_made_is_one_line(sweep: Sweeps) -> None:
    sweep.root.write_text("a file")
    for arguments in (["seed=1,2"], ["seed=1,2", "sweep=s"]):
        code, _, errors = sweep(*arguments)
        assert (code, sweep.started) == (1, [])
        assert errors.startswith("error: ")
        assert str(sweep.root) in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=1", "backbone=vgg16_gap"], "seed-1_backbone-vgg16_gap"),
        (["seed=1", "backbone=vgg16_gap", "trainer.max_epochs=3"], "seed-1_backbone-vgg16_gap"),
        (["+seed=1", "backbone='a = b/c'"], "seed-1_backbone-_a_b_c"),
        (["trainer.max_epochs=3"], "job"),
        (["seed=" + "9" * 500], "seed-" + "9" * 115),
    ],
)
def test_names_of_jobs_can_be_read(overrides: list[str], name: str, tmp_path: Path) -> None:
    directory = job_directory(tmp_path, overrides, ["seed", "backbone"])
    assert re.fullmatch(re.escape(name) + "_[0-9a-f]{8}", directory.name)


def test_jobs_that_read_alike_have_other_names(tmp_path: Path) -> None:
    names = {job_directory(tmp_path, [f"seed={value}"], ["seed"]).name for value in ("'a b'", "'a=b'", "a_b")}
    assert len(names) == 3


# SLURM, through submitit


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A stand-in for submitit's executor: jobs run here, one after another, but for the one that it loses."""
    submitit = pytest.importorskip("submitit", reason="the extra `sweep` is not installed")
    variables = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "77", "SLURM_PROCID": "0"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    lost: dict[str, str] = {}

    class Job(submitit.Job):  # type: ignore[misc, name-defined]
        def wait(self) -> None:
            """It has ended when its result is asked for."""

        def _get_outcome_and_result(self) -> tuple[str, Any]:
            overrides = self.arguments[0]
            if lost["job"] not in overrides:
                return "success", self.function(*self.arguments)
            parsed = OverridesParser.create().parse_overrides(overrides)
            directory = Path(next(one.value() for one in parsed if one.get_key_element() == "run_dir"))
            (directory / "status.json").write_text(json.dumps({"state": lost["state"], "command": "of the job"}))
            raise submitit.core.utils.UncompletedJobError(
                "Job 77_1 (task: 0) with path r.pkl\nhas not produced any output (state: CANCELLED)\nStdout\n----"
            )

    class Executor:
        def __init__(self, **options: Any) -> None: ...

        def update_parameters(self, **options: Any) -> None: ...

        def map_array(self, function: Any, *arguments: Any) -> list[Any]:
            jobs = []
            for number, of_one in enumerate(zip(*arguments, strict=True)):
                job = Job("folder", f"77_{number}")
                job.function, job.arguments = function, of_one
                jobs.append(job)
            return jobs

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)

    def lose(job: str, state: str) -> None:
        lost.update(job=job, state=state)

    return lose


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_that_the_cluster_lost_is_a_failure_like_any_other(
    state: str, sweep: Sweeps, cluster: Callable[[str, str], None]
) -> None:
    cluster("seed=2", state)
    arguments = ("hydra/launcher=slurm", "seed=1,2,3", "sweep=s")
    code, output, errors = sweep(*arguments)
    assert code == 1
    assert sweep.options("seed") == [(1,), (3,)]
    (lost,) = (sweep.root / "s").glob("seed-2_*")
    assert state_of(lost) == "failed"
    reason = (
        "the cluster lost the job: Job 77_1 (task: 0) with path r.pkl has not produced any output (state: CANCELLED)"
    )
    assert f"failed: {lost.name}: ChildProcessError: {reason}" in output
    assert json.loads((lost / "status.json").read_text())["command"] == "of the job"
    assert "error: 1 of 3 jobs not finished; the same command tries them again" in errors

    cluster("none", "")
    assert sweep(*arguments)[0] == 0
    assert sweep.directories() == [lost]


# Optuna

STUDY = (
    "hydra/sweeper=optuna",
    "hydra.sweeper.objective=test/localization_error/top1",
    "hydra.sweeper.num_trials=5",
    "method.learning_rate=tag(log,interval(0.001,0.1))",
    "box.threshold=0.1,0.2",
    "trainer.max_epochs=range(2,10,2)",
    "dataset.batch_size=int(interval(8,16))",
)


def quality(options: Options) -> float:
    return abs(options["method.learning_rate"] - 0.03) + options["box.threshold"]


def test_a_killed_study_goes_on_to_the_number_of_trials_as_it_would_have(sweep: Sweeps) -> None:
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")
    keys = ("method.learning_rate", "box.threshold", "trainer.max_epochs", "dataset.batch_size")
    sweep.work = quality
    code, output, _ = sweep(*STUDY, "sweep=whole")
    assert code == 0
    whole = sweep.options(*keys)
    assert len(whole) == 5
    for rate, threshold, epochs, batch in whole:
        assert 0.001 <= rate <= 0.1
        assert threshold in (0.1, 0.2)
        assert epochs in (2, 4, 6, 8)
        assert isinstance(batch, int)
        assert 8 <= batch <= 16
    best = min(quality(options) for _, options, _ in sweep.started)
    assert f"best of 5 trials: test/localization_error/top1 = {best:g}" in output

    def dies(options: Options) -> float:
        if len(sweep.started) == 3:
            raise KeyboardInterrupt
        return quality(options)

    sweep.work = dies
    assert sweep(*STUDY, "sweep=parts")[0] == 128 + signal.SIGINT
    first = sweep.options(*keys)
    sweep.work = quality
    code, output, _ = sweep(*STUDY, "sweep=parts")
    assert code == 0
    assert "best of 5 trials" in output
    assert first == whole[:3]
    assert sweep.options(*keys) == whole[2:], "the trial that was cut off is run again"
    assert len(list((sweep.root / "parts").glob("*/results.json"))) == 5

    assert sweep(*STUDY, "sweep=parts")[0] == 0
    assert sweep.started == []


def test_a_failed_trial_does_not_end_the_study(sweep: Sweeps) -> None:
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")

    def work(options: Options) -> float:
        if len(sweep.started) == 2:
            raise ValueError("the loss is nan")
        return quality(options)

    sweep.work = work
    code, output, _ = sweep(*STUDY, "hydra.sweeper.num_trials=3", "hydra.sweeper.sampler=random", "sweep=s")
    assert code == 1
    assert len(sweep.started) == 3
    assert "best of 3 trials" in output
    assert "ValueError: the loss is nan" in output
    failed = sweep.directories()[1]
    sweep.work = quality
    assert sweep(*STUDY, "hydra.sweeper.num_trials=3", "hydra.sweeper.sampler=random", "sweep=s")[0] == 0
    assert sweep.directories() == [failed], "the same command tries it again"


def test_a_study_that_a_failure_stopped_goes_on_with_the_next_trial(sweep: Sweeps) -> None:
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")

    def work(options: Options) -> float:
        if len(sweep.started) == 2:
            raise ValueError("the loss is nan")
        return quality(options)

    sweep.work = work
    arguments = (*STUDY, "hydra.sweeper.num_trials=4", "hydra.sweeper.jobs_at_once=3", "on_error=stop", "sweep=s")
    assert sweep(*arguments)[0] == 1
    assert len(sweep.started) == 2
    sweep.work = quality
    assert sweep(*arguments)[0] == 0
    assert len(sweep.started) == 3, "the one that failed, the one that it kept from beginning, and the fourth"


def test_results_of_another_question_do_not_guide_a_study(sweep: Sweeps) -> None:
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")
    sweep.work = quality
    few = (*STUDY, "hydra.sweeper.num_trials=1", "sweep=s")
    assert sweep(*few)[0] == 0
    code, output, errors = sweep(*few, "dataset.num_train=100")
    assert code == 1
    assert "give it another name: sweep=NAME" in output + errors
    code, output, errors = sweep(*few, "sweep=t", "hydra.sweeper.objective=test/nothing")
    assert code == 1
    assert "test/nothing is no result of" in output + errors


@pytest.mark.parametrize("change", ["box.threshold=0.1,0.3", "dataset.batch_size=int(interval(8,32))"])
def test_results_of_another_search_space_do_not_guide_a_study(sweep: Sweeps, change: str) -> None:
    """Of other values Optuna would fail without saying what to do; another interval it would mix in silently."""
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")
    sweep.work = quality
    once = ("hydra.sweeper.num_trials=1", "sweep=s")
    assert sweep(*STUDY, *once)[0] == 0
    key = change.partition("=")[0]
    others = [option for option in STUDY if not option.startswith(f"{key}=")]
    code, output, errors = sweep(*others, change, "hydra.sweeper.num_trials=2", "sweep=s")
    assert code == 1
    assert "give it another name: sweep=NAME" in output + errors
    assert change in output + errors
    assert sweep.started == []
    assert sweep(*reversed(STUDY), *once)[0] == 0, "in another order it is the same question"


def test_options_of_the_parts_that_are_swept_need_not_be_those_of_the_default(sweep: Sweeps) -> None:
    """`shapes`, the default, has no root."""
    code, _, errors = sweep("dataset=tiny_imagenet,folder", "dataset.root=/photos", "sweep=data")
    assert code == 0, errors
    assert sweep.options("dataset", "dataset.root") == [("tiny_imagenet", "/photos"), ("folder", "/photos")]
    assert [path.name.rpartition("_")[0] for path in sweep.directories()] == ["dataset-tiny_imagenet", "dataset-folder"]
    for (command, _, _), directory in zip(sweep.started, sweep.directories(), strict=True):
        assert sum(argument.startswith("dataset=") for argument in command) == 1
        assert "dataset=tiny_imagenet dataset=" not in json.dumps(json.loads((directory / "status.json").read_text()))
    code, _, errors = sweep("dataset=tiny_imagenet,folder", "dataset.rot=/photos", "sweep=typo")
    assert code != 0
    assert "dataset.rot" in errors
    assert sweep.started == [], "said before any job begins"
