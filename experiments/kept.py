"""What is said of a finished run that is kept, where it was asked something else than it would be now."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from cam_lightning.launch.argument import readable
from cam_lightning.run.directory import RunDirectory


def made_otherwise(path: Path, command: Sequence[str]) -> str:
    """How the command that made the run in `path` differs from `command`, an entry point and its overrides, in words.

    Empty where it does not, and where that is not known, as of a training that was resumed. Folders are no difference:
    runs and data may have moved.
    """
    words = shlex.split(str(RunDirectory(path).read_status().get("command", "")))[2:]
    before = [_without_folders(word) for word in words if not word.startswith("run_dir=")]
    if not before or any(word.startswith("resume=") for word in before):
        return ""
    now = [_without_folders(word) for word in (f"cam_lightning.{command[0]}", *readable([*command[1:]]))]
    more, less = ([word for word in one if word not in other] for one, other in ((before, now), (now, before)))
    return ", ".join(f"{said} {' '.join(these)}" for said, these in (("with", more), ("without", less)) if these)


def tell_if_made_otherwise(path: Path, command: Sequence[str]) -> None:
    """Prints in a line that a finished run is kept though its numbers may be of other options."""
    if difference := made_otherwise(path, command):
        print(f"{path} is kept as it is, though it was made {difference}: remove it to have it made anew", flush=True)


def _without_folders(word: str) -> str:
    return re.sub(r"[^\s,=\[\]{}\"']*/", "", word).replace("'", "").replace('"', "")
