"""The commands: quick answers before torch is loaded, and errors that help."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import commands
import hydra
import pytest
import yaml
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from cam_lightning.launch.argument import mistyped, nameless, readable, suggestion
from cam_lightning.launch.entry_point import run_job
from cam_lightning.launch.error import USER_ERRORS, root_cause
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.logger import wandb_run
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE

HEAVY = {"torch", "torchvision", "lightning", "torchmetrics", "numba", "cv2", "numpy"}


def command(*arguments: str, name: str = "train", folder: Path, interpreter: tuple[str, ...] = ()) -> Any:
    return subprocess.run(
        [sys.executable, *interpreter, "-m", f"cam_lightning.{name}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def modules_imported(stderr: str) -> set[str]:
    """Top-level modules in what `python -X importtime` prints."""
    return set(re.findall(r"^import time:.*\|\s+(\w+)$", stderr, re.MULTILINE))


@pytest.mark.parametrize("arguments", [("--help",), ("--cfg", "job"), ("backbone=nothing",)])
def test_answers_come_before_heavy_imports(arguments: tuple[str, ...], tmp_path: Path) -> None:
    answer = command(*arguments, folder=tmp_path, interpreter=("-X", "importtime"))
    modules = modules_imported(answer.stderr)
    assert "hydra" in modules
    assert modules & HEAVY == set()
    assert os.listdir(tmp_path) == []


def test_help_reads_like_a_manual(tmp_path: Path) -> None:
    answer = command("--help", folder=tmp_path)
    assert answer.returncode == 0
    for part in (
        "googlenet_gap",
        "tiny_imagenet",
        "largest_component",
        "run_dir=PATH",
        "learning_rate: 0.05",
    ):
        assert part in answer.stdout
    examples = answer.stdout.partition("Examples")[2].partition("Parts and their choices")[0]
    assert examples.count("python -m cam_lightning.") >= 5


@pytest.mark.parametrize("flags", [("--cfg", "job"), ("--cfg=job",)], ids=" ".join)
def test_eight_gpus_compose_anywhere(flags: tuple[str, ...], tmp_path: Path) -> None:
    """On a machine without one too: the configuration shows what would run."""
    answer = command("backbone=googlenet_gap", "trainer.devices=8", *flags, folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == "", "Hydra and OmegaConf warn of nothing, whatever their versions"
    config = yaml.safe_load(answer.stdout)
    assert config["trainer"]["accelerator"] == "gpu"
    assert config["trainer"]["devices"] == 8
    assert config["trainer"]["precision"] == "bf16-mixed"
    assert config["method"]["channels_last"] is True
    assert config["backbone"]["_target_"] == "cam_lightning.backbone.googlenet_gap.googlenet_gap"
    assert config["paths"]["runs"] == str(tmp_path / "runs")
    assert "${" not in answer.stdout


def test_hydra_s_own_settings_can_be_printed(tmp_path: Path) -> None:
    answer = command("--cfg", "hydra", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "output_subdir: null" in answer.stdout


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        (
            "train",
            "trainer.device=2",
            ["there is no trainer.device", "devices", "Did you mean trainer.devices?"],
        ),
        ("evaluate", "chekpoint=x", ["there is no chekpoint", "Did you mean checkpoint?"]),
        (
            "train",
            "backbone=googlenet_gab",
            ["googlenet_gab", "googlenet_gap", "vgg16_gap", "squeezenet_gap"],
        ),
        ("train", "dataset=imagenett", ["imagenett", "imagenette", "tiny_imagenet"]),
    ],
)
def test_a_wrong_word_gets_the_choices(name: str, argument: str, expected: list[str], tmp_path: Path) -> None:
    answer = command(argument, name=name, folder=tmp_path)
    assert answer.returncode != 0
    for part in expected:
        assert part in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
    assert os.listdir(tmp_path) == []


def test_choices_are_those_of_the_part_that_was_chosen() -> None:
    """`root` is no option of the default dataset, but of this one."""
    assert suggestion("train", ["dataset=tiny_imagenet", "dataset.root=/x"]) == ""
    assert "there is no dataset.root; dataset has: augmentation, " in suggestion("train", ["dataset.root=/x"])
    nearest = suggestion("train", ["dataset=tiny_imagenet", "dataset.rot=/x", "method.schedule.warmup=1"])
    assert "Did you mean dataset.root?" in nearest
    assert "Did you mean method.schedule.warm_up?" in nearest
    assert "Did you mean" not in suggestion("train", ["trainer.zzzzzz=1"])
    assert suggestion("train", ["backbone=nothing", "trainer.devices=2"]) == ""


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("=1", "=1 names no option"),
        ("trainer=null", "trainer=null: a part is chosen by its name; trainer has: auto, cpu, "),
        ("method/schedule=3", "method/schedule has: constant, one_cycle, step"),
        ("trainer=cpu", ""),
        ("cam=[cam,grad_cam]", ""),
        ("seed=null", ""),
        ("--cfg=job", ""),
    ],
)
def test_a_part_is_chosen_by_its_name(argument: str, says: str) -> None:
    assert says in nameless([argument])
    assert bool(says) == bool(nameless([argument]))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["trainer.max_epochs=abc"], "trainer.max_epochs is a number, 8 by default; got 'abc'"),
        (["method.learning_rate=[1,2]", "seed=true"],
         "method.learning_rate is a number, 0.05 by default; got [1, 2]; seed is a number, 0 by default; got True"),
        (["dataset=folder", "dataset.test_fraction='half'"], "dataset.test_fraction is a number, 0.2 by default; got "),
        (["trainer.max_epochs=3", "method.learning_rate=1", "dataset.root=/x", "backbone.weights=imagenet"], ""),
        (["backbone=nothing", "seed=abc"], ""),
    ],
)  # fmt: skip
def test_words_where_numbers_belong_are_named(overrides: list[str], says: str) -> None:
    register_resolvers()
    said = mistyped("train", overrides)
    assert said.startswith(says)
    assert bool(said) == bool(says)


def test_an_error_that_a_word_led_to_is_one_line(
    job: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TypeError says nothing to its reader, and is a bug's where the command line is right."""
    monkeypatch.setattr("cam_lightning.launch.entry_point.command_line", lambda: ["trainer.max_epochs=abc"])
    # The command that stands in has no configuration of its own.
    monkeypatch.setattr("cam_lightning.launch.entry_point.mistyped", lambda name, given: mistyped("train", given))
    with pytest.raises(SystemExit):
        job(failing(TypeError("'>' not supported between instances of 'str' and 'int'")))
    said = capsys.readouterr().err
    assert "error: trainer.max_epochs is a number, 8 by default; got 'abc'" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("option", ["run_dir", "sweep", "paths.runs", "to"])
def test_a_place_with_a_comma_need_not_be_there(option: str) -> None:
    """It is one place, and no sweep over two."""
    assert readable([f"{option}=/not/yet/a,b"]) == [f"{option}='/not/yet/a,b'"]
    assert readable(["seed=1,2"]) == ["seed=1,2"]


def test_an_option_of_the_checkpoint_s_dataset_is_named_as_such() -> None:
    """The checkpoint is read when the command has been composed, with the default dataset."""
    hint = suggestion("evaluate", ["checkpoint=runs/one", "dataset.root=/elsewhere"])
    assert "if it is an option of the checkpoint's own dataset: +dataset.root=…" in hint
    assert "checkpoint" not in suggestion("evaluate", ["dataset.root=/elsewhere"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "it's here"),
        ("a=b", "ümlaut"),
        ('it\'s = here, "twice"', "(x) [y] {z}"),
        ("back\\slash\\", "50 %"),
    ],
)
def test_any_path_can_be_given(one: str, other: str, tmp_path: Path) -> None:
    """As the shell hands it over, without a second layer of quotes."""
    paths = [f"run_dir={tmp_path / one}", f"paths.data={tmp_path / other}"]
    answer = command(*paths, "--cfg", "job", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    config = yaml.safe_load(answer.stdout)
    assert config["run_dir"] == str(tmp_path / one)
    assert config["paths"]["data"] == str(tmp_path / other)
    assert config["callback"]["checkpoint"]["dirpath"] == f"{tmp_path / one}/checkpoints"


def test_a_path_with_a_comma_is_one_path_where_it_exists(tmp_path: Path) -> None:
    """Elsewhere commas are a sweep."""
    path = tmp_path / "a, it's b,c.jpg"
    path.touch()
    plain = tmp_path / "a,b.jpg"
    plain.touch()
    absent = f"images={tmp_path}/x,y.jpg"
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        for wanted in (path, plain):
            assert hydra.compose("predict", overrides=readable([f"images={wanted}"])).images == str(wanted)
    assert readable([absent, "backbone=nin,vgg16"]) == [absent, "backbone=nin,vgg16"]


def test_bad_data_stops_before_training_and_leaves_only_the_run(tmp_path: Path) -> None:
    """The whole way, torch included: exit code, one line, the run's path last, nothing else written."""
    (tmp_path / "here").mkdir()
    run = tmp_path / "run"
    options = ["dataset=tiny_imagenet", "dataset.root=no/where.zip", "trainer=cpu", f"run_dir={run}"]
    answer = commands.run("train", *options, cwd=tmp_path / "here", check=False)
    assert answer.returncode == 1
    assert f"error: dataset.root={tmp_path}/here/no/where.zip does not exist" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout.splitlines()[-1] == str(run)
    assert status(run)["state"] == "failed"
    assert status(run)["command"].endswith("trainer=cpu " + options[-1])
    assert os.listdir(tmp_path / "here") == []


# One job, with a stand-in for training


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A job takes over logging and the environment."""
    for variable in (RUN_DIR_VARIABLE, "LOCAL_RANK", "HYDRA_FULL_ERROR"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    root, ours = logging.getLogger(), logging.getLogger("cam_lightning")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs `work` as an entry point would; gives the run's directory."""

    def start(work: Callable[[DictConfig, RunDirectory], None]) -> Path:
        module = types.ModuleType("cam_lightning.standin")
        module.run = work  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "cam_lightning.standin", module)
        register_resolvers()
        with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
            config = hydra.compose("train", overrides=[f"run_dir={tmp_path / 'run'}", "seed=7"])
        run_job("standin", config)
        return tmp_path / "run"

    return start


def status(folder: Path) -> dict[str, str]:
    return json.loads((folder / "status.json").read_text())


def test_a_finished_job(job: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    def work(config: DictConfig, run: RunDirectory) -> None:
        assert status(run.path)["state"] == "running"
        assert config.run_dir == str(run.path)
        logging.getLogger("cam_lightning.somewhere").info("a line for the log")

    folder = job(work)
    assert status(folder)["state"] == "finished"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["seed"] == config["dataset"]["seed"] == 7
    assert config["callback"]["checkpoint"]["dirpath"] == f"{folder}/checkpoints"
    assert "a line for the log" in (folder / "log.txt").read_text()
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)


@pytest.mark.parametrize(("error", "code"), [(None, 0), (ValueError("the reason"), 1)])
def test_what_watches_a_run_is_closed_with_its_exit_code(
    job: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, code: int
) -> None:
    closed: list[tuple[Path, int]] = []
    monkeypatch.setattr(wandb_run, "finish_run", lambda run_dir, exit_code: closed.append((run_dir, exit_code)))
    if error is None:
        job(lambda config, run: None)
    else:
        with pytest.raises(SystemExit):
            job(failing(error))
    assert closed == [(tmp_path / "run", code)]


def failing(error: BaseException, cause: BaseException | None = None) -> Callable[..., None]:
    def work(config: DictConfig, run: RunDirectory) -> None:
        run.write_json("results.json", {"kept": 1})
        raise error from cause

    return work


@pytest.mark.parametrize(
    ("error", "cause", "message"),
    [
        (ValueError("the reason"), None, "the reason"),
        (FileNotFoundError("a file is missing"), None, "a file is missing"),
        (FloatingPointError("the loss is nan in step 3"), None, "the loss is nan in step 3"),
        (InstantiationException("Error in call to target"), ValueError("the reason"), "the reason"),
    ],
)
def test_an_error_of_the_user_s_is_one_line(
    job: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    cause: BaseException | None,
    message: str,
) -> None:
    with pytest.raises(SystemExit) as stop:
        job(failing(error, cause))
    assert stop.value.code == 1
    folder = tmp_path / "run"
    assert status(folder)["state"] == "failed"
    assert message in status(folder)["traceback"]
    assert (folder / "results.json").is_file()
    written = capsys.readouterr()
    assert f"\nerror: {message}\n" in written.err
    assert "Traceback" not in written.err
    assert written.out.splitlines()[-1] == str(folder)


@pytest.mark.parametrize("error", [KeyError("a bug"), RuntimeError("a bug")])
def test_an_error_of_ours_shows_its_traceback(job: Callable[..., Path], tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        job(failing(error))
    assert caught.value is error
    assert status(tmp_path / "run")["state"] == "failed"
    assert type(error).__name__ in status(tmp_path / "run")["error"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_job_with_its_code_and_the_way_on(
    job: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """Before training has begun there is nothing to save, so at once."""

    def work(config: DictConfig, run: RunDirectory) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("it goes on")

    with pytest.raises(SystemExit) as stop:
        job(work)
    assert stop.value.code == 128 + number
    assert status(tmp_path / "run")["state"] == "interrupted"
    said = f"interrupted by {number.name}; to go on: python -m cam_lightning.standin resume={tmp_path / 'run'}"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_the_configuration_is_written_there_is_no_way_on(
    job: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    monkeypatch.setattr("cam_lightning.launch.entry_point.start_logging", lambda *_: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as stop:
        job(failing(AssertionError("it must not start")))
    assert stop.value.code == 128 + number
    said = capsys.readouterr().err
    assert f"interrupted by {number.name}" in said
    assert "resume" not in said


def test_a_worker_that_was_killed_is_said_in_one_line(
    job: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        job(failing(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")))
    said = capsys.readouterr().err
    assert "error: DataLoader worker (pid 7) is killed by signal: Killed: a process that loads images was ended" in said
    assert "Traceback" not in said


def test_ctrl_c_is_no_failure(job: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        job(failing(KeyboardInterrupt()))
    assert status(tmp_path / "run")["state"] == "interrupted"


def test_a_full_disk_does_not_hide_what_ended_the_job(
    job: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(run: RunDirectory, state: str, *_: object) -> None:
        if state != "running":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunDirectory, "write_status", full)
    with pytest.raises(SystemExit):
        job(failing(ValueError("the reason")))
    written = capsys.readouterr().err
    assert "status.json could not be written: [Errno 28] No space left" in written
    assert "error: the reason" in written


def test_a_run_is_locked_while_it_lasts(job: Callable[..., Path]) -> None:
    """Locks are a process's, so another one must try."""
    code = "import sys; from cam_lightning.run.directory import RunDirectory; RunDirectory.reopen(sys.argv[1]).lock()"
    environment = {name: value for name, value in os.environ.items() if name != RUN_DIR_VARIABLE}

    def try_to_lock(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(folder)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def work(config: DictConfig, run: RunDirectory) -> None:
        refused = try_to_lock(run.path)
        assert f"the run in {run.path} has not ended" in refused.stderr

    folder = job(work)
    assert try_to_lock(folder).returncode == 0


def test_what_a_run_was_made_with_is_recorded(job: Callable[..., Path]) -> None:
    folder = job(lambda config, run: None)
    record = json.loads((folder / "environment.json").read_text())
    assert record["seed"] == 7
    assert record["packages"]["torch"]
    assert record["host"]
    assert record["devices"]["cores"] >= 1


def test_the_full_error_can_be_asked_for(job: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="the reason"):
        job(failing(ValueError("the reason")))


def test_a_directory_in_use_stops_the_job(
    job: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = job(lambda config, run: None)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SystemExit) as stop:
        job(failing(AssertionError("it must not start")))
    assert stop.value.code == 1
    assert f"error: run_dir={folder} is already in use" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_full_disk_is_said_where_the_library_that_wrote_names_no_file(
    job: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        job(failing(OSError(28, "No space left on device")))
    assert "error: a file could not be written (No space left on device). Make room;" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["check_data", "resize_data"])
def test_what_needs_no_network_runs_as_a_command(name: str, tmp_path: Path) -> None:
    few = (
        "dataset.num_train=20",
        "dataset.num_test=10",
        "num_workers=1",
        *(["to=copy"] if name == "resize_data" else []),
    )
    answer = commands.run(name, *few, cwd=tmp_path)
    folder = Path(answer.stdout.splitlines()[-1])
    assert folder.is_dir()
    assert f"_{name}_" in folder.name


def test_what_a_resumed_run_may_change_need_not_be_in_the_defaults() -> None:
    """Of another dataset or logger than those; the run's own config is read after composing."""
    changed = readable(["resume=runs/one", "dataset.root=/new place", "logger.wandb.mode=online", "seed=1"])
    assert changed == ["resume=runs/one", "++dataset.root=/new place", "++logger.wandb.mode=online", "seed=1"]
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        assert hydra.compose("train", overrides=changed).dataset.root == "/new place"
    assert readable(["dataset.root=/x"]) == ["dataset.root=/x"]


def test_a_value_may_be_longer_than_any_path() -> None:
    seeds = "seed=" + ",".join(str(seed) for seed in range(100))
    assert readable([seeds]) == [seeds]


def test_a_torchvision_of_another_torch_is_explained() -> None:
    """What `import torchvision` says of it helps nobody."""
    error = root_cause(RuntimeError("operator torchvision::nms does not exist"))
    assert isinstance(error, USER_ERRORS)
    assert "--force-reinstall torch torchvision" in str(error)
    other = RuntimeError("an error of ours")
    assert root_cause(other) is other
