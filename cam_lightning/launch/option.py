"""What the parts of a configuration say of their options, beside them in their own yaml.

_options_: {root: path, num_workers: manner}

path     a place of what the run reads: made absolute where it exists, and may be given anew when a run goes on
manner   how the run is carried out, not what it computes: may be given anew, and tells no two runs apart
extent   how far it goes: may be given anew, unless a part is laid out over all of it (`_fixed_extent_`)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

KINDS = ("path", "manner", "extent")


def declared(config: Any, *kinds: str) -> list[str]:
    """The dotted keys of the options of these kinds, of every part of a configuration; those alone that it has."""
    found = []
    for place, node in _parts(config):
        for option, kind in (node.get("_options_") or {}).items():
            if kind not in KINDS:
                raise ValueError(f"{place}._options_.{option} is one of {', '.join(KINDS)}; got {kind!r}")
            if kind in kinds and option in node:
                found.append(f"{place}.{option}")
    return found


def has_fixed_extent(config: Any) -> bool:
    """Whether a part is laid out over the whole extent, such as a learning rate that falls to nothing at its end."""
    return any(node.get("_fixed_extent_") for _, node in _parts(config))


def keep_paths(config: DictConfig) -> None:
    """Makes what lies below the working directory absolute, so that a run can be gone on with from any other."""
    for key in declared(config, "path"):
        value = OmegaConf.select(config, key)
        if isinstance(value, str):
            OmegaConf.update(config, key, _absolute(value))
        elif OmegaConf.is_list(value):
            OmegaConf.update(config, key, [_absolute(each) for each in value])


def _absolute(value: Any) -> Any:
    if not isinstance(value, str) or value in ("none", "imagenet"):
        return value
    path = os.path.expanduser(value)
    return os.path.abspath(path) if os.path.exists(path) else value


def _parts(node: Any, place: str = "") -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every mapping below a node, with where it is."""
    if not isinstance(node, DictConfig | Mapping):
        return
    if place:
        yield place, node
    for key in node:
        if isinstance(node, DictConfig) and OmegaConf.is_missing(node, key):
            continue
        # Not through interpolations: what they stand for is met where it is.
        if isinstance(node, DictConfig) and OmegaConf.is_interpolation(node, key):
            continue
        yield from _parts(node[key], f"{place}.{key}" if place else str(key))
