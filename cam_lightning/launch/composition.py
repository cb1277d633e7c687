"""A command line that cannot be composed: one line, where Hydra prints a page of choices and search paths."""

from __future__ import annotations

import difflib
import sys
from typing import Any, TextIO, cast

from hydra.errors import CompactHydraException, HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from cam_lightning.launch.argument import choices_of, suggestion
from cam_lightning.launch.error import USER_ERRORS, message, root_cause

_ASIDES = ("See https:", "full_key:", "object_type=", "Config search path", "provider=")
"""Lines that Hydra and OmegaConf add, and that say nothing to do."""


def hold_hydra_back() -> None:
    """Keeps from the terminal what Hydra prints of an error while it handles it; all else passes."""
    sys.stderr = cast(TextIO, _Passing(sys.stderr))


def let_hydra_speak() -> None:
    """Ends `hold_hydra_back`."""
    if isinstance(sys.stderr, _Passing):
        sys.stderr = sys.stderr.stream


class _Passing:
    """A stream that drops what is written while an error of Hydra's is handled."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return len(text) if isinstance(sys.exc_info()[1], CompactHydraException) else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def fault(name: str, arguments: list[str], error: BaseException | None) -> str:
    """What is wrong with the arguments of a command that Hydra ended because of an error; empty where it said so."""
    if not isinstance(error, CompactHydraException):
        return ""
    cause = root_cause(error)
    if isinstance(cause, USER_ERRORS) and not isinstance(cause, HydraException | OmegaConfBaseException):
        return message(cause)
    if isinstance(error, MissingConfigException) and "/" in str(error.missing_cfg_file):
        return _no_such_choice(str(error.missing_cfg_file), arguments, list(error.options or ()))
    if hint := suggestion(name, arguments):
        return hint
    lines = [line.strip().rstrip(".") for said in dict.fromkeys((error, cause)) for line in str(said).splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith(_ASIDES))


def _no_such_choice(place: str, arguments: list[str], found: list[str]) -> str:
    group, _, choice = place.rpartition("/")
    choices = sorted(found or choices_of(group, arguments))
    near = difflib.get_close_matches(choice, choices, n=1)
    hint = f". Did you mean {near[0]}?" if near else ""
    return f"there is no {group}={choice}; {group} has: {', '.join(choices)}{hint}"
