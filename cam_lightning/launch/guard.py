"""Someone else's folder of configuration: what Hydra itself would build of it is looked at first."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from cam_lightning.launch.argument import config_folders
from cam_lightning.run.place import CONF, VERSION_BASE

TRUSTED = ("hydra.", "hydra_plugins.")
"""What our own choices of launchers and sweepers are: Hydra's, its plugins', and ours, which are a plugin too."""


def require_trusted_hydra(name: str, arguments: list[str]) -> None:
    """Ends the process where a folder given by the command line (`--config-dir`) has Hydra run something foreign.

    Hydra builds its callbacks, launcher and sweeper before any of our code sees the configuration. Where no folder is
    given, all of it is ours, and nothing is composed here.
    """
    folders = config_folders(arguments)
    if not folders and not any("hydra.searchpath" in argument for argument in arguments):
        return
    overrides = [each for each in arguments if "=" in each and not each.startswith("-")]
    search = ",".join(f"'file://{folder.absolute()}'" for folder in folders)
    try:
        with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
            given = [*overrides, *([f"hydra.searchpath=[{search}]"] if folders else [])]
            config = hydra.compose(name, [*given], return_hydra_config=True)
        node = OmegaConf.to_container(config.hydra, resolve=False)
    except HydraException:
        # What does not compose is not run: Hydra says why, in a moment.
        return
    for place, target in _targets(node, "hydra"):
        if not target.startswith(TRUSTED):
            sys.exit(f"error: {place}={target} is not trusted, and was not run")


def _targets(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                yield f"{place}._target_", str(value)
            else:
                yield from _targets(value, f"{place}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _targets(value, f"{place}[{number}]")
