"""What all commands share: composing the configuration, the run's directory, and an end that says how it went.

Only light imports here: `--help` and `--cfg job` answer before torch is ever loaded.
"""

from __future__ import annotations

import importlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from cam_lightning.launch.argument import SEVERAL, mistyped, nameless, readable
from cam_lightning.launch.composition import fault, hold_hydra_back, let_hydra_speak
from cam_lightning.launch.error import USER_ERRORS, message, root_cause
from cam_lightning.launch.guard import require_trusted_hydra
from cam_lightning.launch.option import keep_paths, leave_out_what_is_off
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.launch.stored import command_line, resumed_config
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.environment import record_environment
from cam_lightning.run.interruption import Interrupted, interruption
from cam_lightning.run.log import start_logging
from cam_lightning.run.override import key_of
from cam_lightning.run.place import CONF, VERSION_BASE
from cam_lightning.run.printing import outlive_reader
from cam_lightning.run.range import require_ranges
from cam_lightning.sweep.job import run_apart
from cam_lightning.sweep.sweeper import register_sweepers

log = logging.getLogger(__name__)


def entry_point(name: str) -> Callable[[], None]:
    """The `main` of `python -m cam_lightning.<name>`: composes `conf/<name>.yaml` and runs `cam_lightning.<name>.run`.

    The run function gets (configuration, run directory). It brings torch, so it is called after composing.
    """
    register_resolvers()
    was_composed = False

    @hydra.main(**VERSION_BASE, config_path=str(CONF), config_name=name)
    def task(config: DictConfig) -> None:
        nonlocal was_composed
        was_composed = True
        let_hydra_speak()
        if "sweep" in config and HydraConfig.get().mode == RunMode.MULTIRUN:
            run_apart(name, config)
        else:
            run_job(name, config)

    def main() -> None:
        outlive_reader()
        sys.argv[1:] = readable(sys.argv[1:])
        if said := nameless(sys.argv[1:]):
            sys.exit(f"error: {said}")
        register_sweepers()
        try:
            require_trusted_hydra(name, sys.argv[1:])
            hold_hydra_back()
            task()
        except KeyboardInterrupt:
            # Before a run began, or of a sweep, whose jobs have said for themselves how they ended.
            print("\ninterrupted", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        except SystemExit as stop:
            # Hydra ends the process where it handles what it could not compose.
            if stop.code and not was_composed and (said := fault(name, sys.argv[1:], stop.__context__)):
                sys.exit(f"error: {said}")
            raise
        finally:
            let_hydra_speak()

    return main


def run_job(name: str, config: DictConfig) -> None:
    """Runs one composed job in a directory of its own; ends the process with a code that is not 0 if it fails."""
    run: RunDirectory | None = None
    exit_code = 1
    command = shlex.join(["python", "-m", f"cam_lightning.{name}", *sys.argv[1:]])
    interruption.listen()
    try:
        run, config = _open_run(name, config)
        require_ranges(OmegaConf.to_container(config, resolve=True))
        start_logging(run.path, run.is_writer)
        run.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))
        run.write_status("running", command)
        record_environment(run, config.get("seed"))
        importlib.import_module(f"cam_lightning.{name}").run(config, run)
        run.write_status("finished", command)
        exit_code = 0
    except BaseException as error:
        interrupted = _was_interrupted(error)
        if run is not None:
            _record_end(run, "interrupted" if interrupted else "failed", command, error)
        if isinstance(error, Interrupted):
            exit_code = error.exit_code
            if run is None or run.is_writer:
                print(f"\n{error}{_way_on(name, config, run)}", file=sys.stderr)
            sys.exit(exit_code)
        cause = root_cause(error)
        said = message(cause) if isinstance(cause, USER_ERRORS) else mistyped(name, command_line())
        if not said or os.environ.get("HYDRA_FULL_ERROR"):
            raise
        print(f"\nerror: {said}", file=sys.stderr)
        if run is not None:
            print(f"The traceback is in {run.path / 'status.json'}", file=sys.stderr)
        sys.stderr.flush()
        sys.exit(exit_code)
    finally:
        if run is not None and run.is_writer:
            _close(run, exit_code, has_report="callback" in config)


def _open_run(name: str, config: DictConfig) -> tuple[RunDirectory, DictConfig]:
    """A directory of the run's own and its configuration; those that it had, where it goes on."""
    if config.get("resume") is None:
        _trust_the_command_line_alone(config, command_line())
        _require_one_choice_each()
        run = RunDirectory.create(config.paths.runs, _title(name, config), config.run_dir)
        run.lock()
        OmegaConf.update(config, "run_dir", str(run.path))
        keep_paths(config)
        leave_out_what_is_off(config)
        return run, config
    run = RunDirectory.reopen(config.resume)
    run.lock()
    try:
        overrides = command_line()
        config = resumed_config(run, overrides)
        _trust_the_command_line_alone(config, overrides)
        # Of the run as it was: where this one is killed, `report` draws it anew.
        run.remove("report.html")
        return run, config
    except BaseException:
        _draw_if_missing(run)
        run.unlock()
        raise


def _trust_the_command_line_alone(config: DictConfig, overrides: list[str]) -> None:
    """Sets `trust` to the packages that the command line names; a configuration cannot trust itself."""
    given = [each for each in overrides if key_of(each) == "trust"]
    names = OverridesParser.create().parse_override(given[-1]).value() if given else []
    with open_dict(config):
        config.trust = [str(name) for name in (names if isinstance(names, list) else [names])]


def _require_one_choice_each() -> None:
    """Raises ValueError where a configuration has several choices of a group that merges them into one."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    for group in SEVERAL:
        if str(choices.get(group, "")).startswith("["):
            raise ValueError(
                f"{group}={choices[group]}: several are given on the command line, or in an experiment's defaults as "
                f"/{group}@further.{group}.NAME: NAME; a list there would be merged into one"
            )


def _way_on(name: str, config: DictConfig, run: RunDirectory | None) -> str:
    """How to go on with a run that was interrupted; nothing where it had not begun, or is none to go on with."""
    if run is None or "resume" not in config or not (run.path / "config.yaml").is_file():
        return ""
    return f"; to go on: {shlex.join(['python', '-m', f'cam_lightning.{name}', f'resume={run.path}'])}"


def _was_interrupted(error: BaseException) -> bool:
    """Whether somebody ended the run; Lightning makes an exit of Ctrl-C."""
    return isinstance(error, (Interrupted, KeyboardInterrupt)) or isinstance(error.__context__, KeyboardInterrupt)


def _record_end(run: RunDirectory, state: str, command: str, error: BaseException) -> None:
    try:
        run.write_status(state, command, error)
        log.debug("the run ended: %s", state, exc_info=error)
    except OSError as second:
        # As on a full disk. What ended the run matters more, and is said next.
        print(f"\nstatus.json could not be written: {second}", file=sys.stderr)


def _draw_if_missing(run: RunDirectory) -> None:
    """The page of a run that ended, and was killed before it had one."""
    if run.is_writer:
        from cam_lightning.report.html import write_missing_report
        from cam_lightning.report.run_record import read_run

        write_missing_report(read_run(run.path))


def _close(run: RunDirectory, exit_code: int, has_report: bool) -> None:
    """Ends what watches the run, draws its page, and says last of all, whatever happened, where to look."""
    from cam_lightning.logger.wandb_run import finish_run

    try:
        finish_run(run.path, exit_code)
        if has_report:
            from cam_lightning.report.html import write_report

            write_report(run.path)
    except OSError as error:
        # As on a full disk; `report` draws the page when there is room.
        log.warning("the run's report could not be written: %s", error)
    except Exception:
        # What cannot be drawn or closed must not hide how the run itself ended.
        log.exception("the run's report or its Weights & Biases run could not be closed")
    run.unlock()
    for kind, path in run.files().items():
        print(f"{kind:<12} {path}")
    print(run.path, flush=True)


def _title(name: str, config: DictConfig) -> str:
    """What a run's directory is called after: the dataset and backbone chosen, else the entry point."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    # A checkpoint brings a dataset and a backbone of its own.
    if config.get("checkpoint") is None and "dataset" in choices and "backbone" in choices:
        return f"{choices['dataset']}_{choices['backbone']}"
    return name
