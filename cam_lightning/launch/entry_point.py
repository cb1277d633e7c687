"""What all entry points share: composing the configuration, the run's directory, and errors that help.

Only light imports here: `--help` and `--cfg job` answer before torch is ever loaded.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import inspect
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable
from glob import glob
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cam_lightning.launch.override import assign
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.environment import record_environment
from cam_lightning.run.interruption import Interrupted, interruption
from cam_lightning.run.log import start_logging
from cam_lightning.run.printing import outlive_reader
from cam_lightning.run.resume import MAY_CHANGE, stored_config
from cam_lightning.sweep.job import run_apart
from cam_lightning.sweep.sweeper import register_sweepers

log = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]
# An installed wheel carries the configuration inside the package; a checkout has it beside.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"

VERSION_BASE: dict[str, Any] = {"version_base": None} if hydra.__version__.startswith("1.3.") else {}
"""What Hydra's functions get in order to behave as their own version: 1.4 warns of it, 1.3 without it is as 1.1 was."""

USER_ERRORS = (ValueError, OSError, FloatingPointError, ImportError, HydraException, OmegaConfBaseException)
"""Errors whose message is meant for the user; the traceback goes to the run's log and status."""
INPUTS = (
    "backbone.weights",
    *(f"dataset.{name}" for name in ("root", "metadata", "devkit", "imagenetv2", "cubv2", "masks", "class_index")),
)
"""Options that may be paths of what a run reads."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk, and what limits a user's share of it or the size of a file."""


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
        if "sweep" in config and HydraConfig.get().mode == RunMode.MULTIRUN:
            run_apart(name, config)
        else:
            run_job(name, config)

    def main() -> None:
        outlive_reader()
        sys.argv[1:] = readable(sys.argv[1:])
        register_sweepers()
        try:
            task()
        except SystemExit as stop:
            if stop.code and not was_composed and (hint := suggestion(name, sys.argv[1:])):
                print(hint, file=sys.stderr)
            raise

    return main


def readable(arguments: list[str]) -> list[str]:
    """The command line as Hydra can read it.

    A value that Hydra's grammar has no words for, such as a path with an apostrophe or `=`, is quoted, and so is
    a path with a comma, where it exists, for Hydra would sweep over its parts. `--cfg job` shows what a run would
    really use instead of `${…}`.
    """
    arguments = [argument if argument.startswith("-") else _quoted(argument) for argument in arguments]
    if any(argument.startswith("resume=") for argument in arguments):
        # The run's own config is read after composing: what may change of it need not exist in the defaults.
        arguments = [f"++{each}" if each.partition("=")[0] in MAY_CHANGE else each for each in arguments]
    shown = {"--cfg=job", "--cfg=all"} & set(arguments) or (
        {"--cfg", "-c"} & set(arguments) and {"job", "all"} & set(arguments)
    )
    return [*arguments, "--resolve"] if shown and "--resolve" not in arguments else arguments


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    try:
        override = OverridesParser.create().parse_override(argument)
        # Not Path.exists, which raises where a value is too long for a path.
        is_readable = not (override.is_sweep_override() and os.path.exists(os.path.expanduser(value)))
    except HydraException:
        is_readable = not equals
    return argument if is_readable else assign(key, value)


def run_job(name: str, config: DictConfig) -> None:
    """Runs one composed job in a directory of its own; ends the process with a code that is not 0 if it fails."""
    run: RunDirectory | None = None
    exit_code = 1
    command = shlex.join(["python", "-m", f"cam_lightning.{name}", *sys.argv[1:]])
    interruption.listen()
    try:
        run, config = _open_run(name, config)
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
            if run is not None and run.is_writer:
                way_on = shlex.join(["python", "-m", f"cam_lightning.{name}", f"resume={run.path}"])
                print(f"\n{error}{f'; to go on: {way_on}' if 'resume' in config else ''}", file=sys.stderr)
            sys.exit(exit_code)
        cause = root_cause(error)
        if not isinstance(cause, USER_ERRORS) or os.environ.get("HYDRA_FULL_ERROR"):
            raise
        print(f"\nerror: {_message(cause)}", file=sys.stderr)
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
        run = RunDirectory.create(config.paths.runs, _title(name, config), config.run_dir)
        run.lock()
        OmegaConf.update(config, "run_dir", str(run.path))
        _keep_paths(config)
        return run, config
    run = RunDirectory.reopen(config.resume)
    run.lock()
    try:
        return run, stored_config(run, list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else [])
    except BaseException:
        run.unlock()
        raise


def _keep_paths(config: DictConfig) -> None:
    """Makes what lies below the working directory absolute, so that a run can be gone on with from any other."""
    for key in INPUTS:
        value = OmegaConf.select(config, key)
        if isinstance(value, str) and value not in ("none", "imagenet") and os.path.exists(os.path.expanduser(value)):
            OmegaConf.update(config, key, os.path.abspath(os.path.expanduser(value)))


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


def _close(run: RunDirectory, exit_code: int, has_report: bool) -> None:
    """Ends what watches the run, draws its page, and says last of all, whatever happened, where to look."""
    from cam_lightning.logger.wandb_run import finish_run

    try:
        finish_run(run.path, exit_code)
        if has_report:
            from cam_lightning.report.html import write_report

            write_report(run.path)
    except Exception:
        # What cannot be drawn or closed must not hide how the run itself ended.
        log.exception("the run's report or its Weights & Biases run could not be closed")
    run.unlock()
    for kind, path in run.files().items():
        print(f"{kind:<12} {path}")
    print(run.path, flush=True)


def root_cause(error: BaseException) -> BaseException:
    """The error that a wrapper, such as Hydra's instantiation, was raised for; of some, what they mean."""
    while isinstance(error, HydraException) and error.__cause__ is not None:
        option = re.search(r"unexpected keyword argument '(\w+)'", str(error.__cause__))
        part = re.search(r"full_key: (\S+)", str(error))
        if isinstance(error.__cause__, TypeError) and option and part:
            return ValueError(
                f"{part[1]} has no option {option[1]!r}. Where it was set for another choice of that part, as by an "
                f"experiment, take it back with '~{part[1]}.{option[1]}'"
            )
        error = error.__cause__
    if isinstance(error, RuntimeError) and "operator torchvision::" in str(error):
        return ImportError(
            f"torchvision cannot be used with this torch ({error}): they are not of one release and one kind (CPU or "
            "CUDA). Install both anew, from one place: pip install --force-reinstall torch torchvision"
        )
    return error


def _message(error: BaseException) -> str:
    """What the error says; of an error in a data loader's worker, what the worker's said, without its traceback."""
    text = str(error)
    if text.startswith("Caught ") and "DataLoader worker" in text:
        return text.strip().splitlines()[-1].partition(": ")[2]
    if isinstance(error, OSError) and error.errno in NO_ROOM and error.filename is None:
        return f"a file could not be written ({error.strerror}). Make room; what was written before is kept"
    return text


def register_resolvers() -> None:
    """The functions that configurations may call; each answers without importing torch."""
    # OmegaConf 2.4 took the name that 2.3 has for an older kind of resolver, and warns of the longer one.
    is_old = "replace" not in inspect.signature(OmegaConf.register_resolver).parameters
    register: Any = OmegaConf.register_new_resolver if is_old else OmegaConf.register_resolver
    register("auto_accelerator", _auto_accelerator, replace=True)
    register("by_accelerator", lambda accelerator, gpu, cpu: gpu if accelerator == "gpu" else cpu, replace=True)
    register("cwd", os.getcwd, replace=True)


def _auto_accelerator(devices: object) -> str:
    """A GPU if there is one. More than one device always means GPUs: their lack is then an error, not a fallback."""
    return "gpu" if devices != 1 or _gpu_present() else "cpu"


def _gpu_present() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    return bool(glob("/dev/nvidia[0-9]*"))


def _title(name: str, config: DictConfig) -> str:
    """What a run's directory is called after: the dataset and backbone chosen, else the entry point."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    # A checkpoint brings a dataset and a backbone of its own.
    if config.get("checkpoint") is None and "dataset" in choices and "backbone" in choices:
        return f"{choices['dataset']}_{choices['backbone']}"
    return name


def suggestion(name: str, arguments: list[str]) -> str:
    """After options that fit nowhere: the choices there, and the nearest of them."""
    overrides = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    groups = {str(path.relative_to(CONF)) for path in CONF.rglob("*") if path.is_dir()}
    chosen = [override for override in overrides if override.partition("=")[0] in groups]
    lines = []
    try:
        with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
            # Of a sweep's choices, the first.
            config = hydra.compose(name, overrides=[override.partition(",")[0] for override in chosen])
    except HydraException:
        # A choice that does not exist: Hydra has listed the others.
        return ""
    for key in (override.partition("=")[0].lstrip("+~") for override in overrides if override not in chosen):
        parent, _, leaf = key.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        if isinstance(node, DictConfig) and leaf not in node:
            choices = sorted(str(choice) for choice in node)
            near = difflib.get_close_matches(leaf, choices, n=1)
            hint = f" Did you mean {'.'.join(filter(None, (parent, near[0])))}?" if near else ""
            lines.append(f"There is no {key}; {parent or name} has: {', '.join(choices)}.{hint}")
            if any(override.startswith("checkpoint=") for override in overrides):
                lines.append(f"If it is an option of the checkpoint's own {key.partition('.')[0]}: +{key}=…")
    return "\n".join(lines)
