"""The command line, as people type it and as Hydra can read it; and what to say where it fits nowhere."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from cam_lightning.run.override import assign, key_of
from cam_lightning.run.place import CONF, VERSION_BASE

SEVERAL = ("cam", "box")
"""Groups of which several are scored at once: `cam=[cam,grad_cam]`. The first is the run's own."""
DESTINATIONS = ("run_dir", "sweep", "paths.runs", "to")
"""Options that name one place, which need not be there yet: none of them can be swept."""


def readable(arguments: list[str]) -> list[str]:
    """The command line as Hydra can read it.

    A value that Hydra's grammar has no words for, such as a path with an apostrophe or `=`, is quoted, and so is
    a path with a comma, where it exists or is yet to be made, for Hydra would sweep over its parts. Several maps or
    box generators become the run's own and `further` ones. `--cfg job` shows what a run would really use instead of
    `${…}`. Before the several parts that a sweep is over stands the first of them alone (`_first_choice`).
    """
    arguments = [argument if argument.startswith("-") else _quoted(argument) for argument in arguments]
    arguments = [part for argument in arguments for part in _one_by_one(argument)]
    if {"-m", "--multirun"} & set(arguments):
        arguments = [part for argument in arguments for part in (*_first_choice(argument, arguments), argument)]
    if any(key_of(argument) == "resume" for argument in arguments):
        # The run's own config is read after composing: what may change of it need not exist in the defaults.
        arguments = [f"++{each}" if _may_be_new(each) else each for each in arguments]
    shown = {"--cfg=job", "--cfg=all"} & set(arguments) or (
        {"--cfg", "-c"} & set(arguments) and {"job", "all"} & set(arguments)
    )
    return [*arguments, "--resolve"] if shown and "--resolve" not in arguments else arguments


def _may_be_new(argument: str) -> bool:
    """Whether an argument sets an option of a part."""
    return "." in argument.partition("=")[0] and argument[:1] not in "-+~" and not argument.startswith("hydra.")


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    try:
        override = OverridesParser.create().parse_override(argument)
        # Not Path.exists, which raises where a value is too long for a path.
        is_place = key_of(argument) in DESTINATIONS or os.path.exists(os.path.expanduser(value))
        is_readable = not (override.is_sweep_override() and is_place)
    except HydraException:
        is_readable = not equals
    return argument if is_readable else assign(key, value)


def _one_by_one(argument: str) -> list[str]:
    """`cam=[cam,grad_cam]` as Hydra composes it: one choice of the group, and further ones each under its name."""
    key, _, value = argument.partition("=")
    if key not in SEVERAL or not (value.startswith("[") and value.endswith("]")):
        return [argument]
    first, *others = (name.strip() for name in value[1:-1].split(","))
    return [f"{key}={first}", *(f"+{key}@further.{key}.{name}={name}" for name in others)]


def _first_choice(argument: str, arguments: list[str]) -> list[str]:
    """Of several choices of a part, the first: `experiment=a` of `experiment=a,b`; nothing of other arguments.

    What Hydra composes before any job leaves out all that is swept, and its default part need not have the options
    that are given for those (`dataset.root=…`). Jobs are composed without it (`sweep/sweeper.py`).
    """
    key = argument.partition("=")[0]
    if argument.startswith("-") or not any((folder / key).is_dir() for folder in (CONF, *config_folders(arguments))):
        return []
    try:
        override = OverridesParser.create().parse_override(argument)
        if not override.is_choice_sweep():
            return []
        return [f"{key}={next(iter(override.sweep_string_iterator()))}"]
    except HydraException:
        return []


def nameless(arguments: list[str]) -> str:
    """What is wrong with an argument that names no option (`=1`), or chooses a part by no name (`trainer=null`).

    Empty where none does. Hydra answers such a one with a traceback.
    """
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if equals and not key:
            return f"{argument} names no option: OPTION=VALUE"
        if not equals or not (CONF / key).is_dir():
            continue
        try:
            value = OverridesParser.create().parse_override(argument).value()
        except HydraException:
            continue
        if value is None or isinstance(value, int | float):
            return f"{argument}: a part is chosen by its name; {key} has: {', '.join(choices_of(key, arguments))}"
    return ""


def choices_of(group: str, arguments: list[str]) -> list[str]:
    """The names of a group's parts: ours, and those of folders that the command line brings along."""
    return sorted(
        {path.stem for folder in (CONF, *config_folders(arguments)) for path in folder.glob(f"{group}/*.yaml")}
    )


def mistyped(name: str, overrides: list[str]) -> str:
    """Which overrides have no number where the defaults have one; empty where none, or where nothing can be composed.

    To be asked after an error that says nothing to its reader: some options take other kinds than their default's.
    """
    try:
        config = _defaults(name, overrides)
        given = OverridesParser.create().parse_overrides(overrides)
    except HydraException:
        return ""
    faults = []
    for override in given:
        key, value = override.key_or_group, override.value()
        default = OmegaConf.select(config, key) if not key.startswith("hydra") else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(default, int | float) and not isinstance(default, bool) and not is_number:
            shown = str(value) if isinstance(value, QuotedString) else value
            faults.append(f"{key} is a number, {default} by default; got {shown!r:.80}")
    return "; ".join(faults)


def _defaults(name: str, overrides: list[str]) -> DictConfig:
    """What a command composes to where its overrides choose parts, and set no option."""
    groups = {str(path.relative_to(CONF)) for path in CONF.rglob("*") if path.is_dir()}
    chosen = [override for override in overrides if override.partition("=")[0] in groups]
    # Hydra composes once at a time, and this may be within a job that it runs.
    running, outer = GlobalHydra.instance(), GlobalHydra.instance().hydra
    running.clear()
    try:
        with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
            # Of a sweep's choices, the first.
            return hydra.compose(name, overrides=[override.partition(",")[0] for override in chosen])
    finally:
        running.hydra = outer


def suggestion(name: str, arguments: list[str]) -> str:
    """Of options that fit nowhere: the choices there, and the nearest of them, in one line."""
    overrides = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    said = []
    try:
        config = _defaults(name, overrides)
    except HydraException:
        # A choice that does not exist.
        return ""
    for key in (key_of(each) for each in overrides if not (CONF / each.partition("=")[0]).is_dir()):
        parent, _, leaf = key.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        if parent and node is not None and not OmegaConf.is_config(node):
            said.append(f"there is no {key}: {parent} is one value, {node!r:.80}")
        if isinstance(node, DictConfig) and leaf not in node:
            choices = sorted(str(choice) for choice in node if not str(choice).startswith("_"))
            near = difflib.get_close_matches(leaf, choices, n=1)
            hint = f". Did you mean {'.'.join(filter(None, (parent, near[0])))}?" if near else ""
            if parent and any(override.startswith("checkpoint=") for override in overrides):
                hint += f"; if it is an option of the checkpoint's own {key.partition('.')[0]}: +{key}=…"
            said.append(f"there is no {key}; {parent or name} has: {', '.join(choices)}{hint}")
    return "; ".join(said)


def config_folders(arguments: list[str]) -> list[Path]:
    """The folders of configuration that a command line brings along."""
    folders = []
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in ("--config-dir", "-cd", "--config-path", "-cp"):
            value = value if equals else next(iter(arguments[position + 1 :]), "")
            folders.append(Path(value).expanduser())
    return folders
