"""Which ranges hold in a configuration that was stored: those of our yamls, not what it says itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from cam_lightning.run.place import CONF

_NO_PARTS = ("experiment", "hydra")
"""Folders of `conf/` that set options of parts, and declare none."""


def with_own_ranges(config: Mapping[str, Any], command: str = "train") -> dict[str, Any]:
    """A stored configuration whose parts have the ranges of our yamls: plain containers in and out.

    A checkpoint of an earlier version would else refuse what is allowed now, and one that somebody wrote would allow
    anything. A part of another package keeps its own; what belongs to no part is the command's.
    """
    return {**{key: _own(value) for key, value in config.items()}, "_ranges_": _composed(command).get("_ranges_", {})}


def _own(node: Any) -> Any:
    if isinstance(node, list):
        return [_own(value) for value in node]
    if not isinstance(node, Mapping):
        return node
    target = str(node.get("_target_", ""))
    if target and target not in _by_target():
        return {key: _own(value) for key, value in node.items()}
    owned = {key: _own(value) for key, value in node.items() if key != "_ranges_"}
    ranges = _by_target().get(target)
    return {**owned, "_ranges_": dict(ranges)} if ranges else owned


@cache
def _by_target() -> dict[str, dict[str, Any]]:
    """The ranges of everything that our yamls build, by its `_target_`."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(CONF.rglob("*.yaml")):
        if path.relative_to(CONF).parts[0] not in _NO_PARTS:
            for part in _parts(_composed(str(path.relative_to(CONF).with_suffix("")))):
                found.setdefault(part["_target_"], {}).update(part.get("_ranges_", {}))
    return found


def _composed(name: str) -> dict[str, Any]:
    """A yaml of `conf/` on top of those of its folder that its defaults name."""
    path = CONF / f"{name}.yaml"
    content = cast(DictConfig, OmegaConf.load(path))
    bases = [each for each in content.get("defaults", ()) if isinstance(each, str) and each != "_self_"]
    of_bases = [_composed(str(Path(name).with_name(base))) for base in bases]
    composed: Any = OmegaConf.to_container(OmegaConf.merge(*of_bases, content), resolve=False)
    return composed


def _parts(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from _parts(value)
