"""What the parts of a configuration say of their options, beside them in their own yaml.

_options_: {root: path, num_workers: manner}

path     a place of what the run reads: made absolute where it exists, and may be given anew when a run goes on
manner   how the run is carried out, not what it computes: may be given anew, and tells no two runs apart
extent   how far it goes: may be given anew, unless a part is laid out over all of it (`_fixed_extent_`)

Which values they may have stands there too, as `_ranges_` (`run/range.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

KINDS = ("path", "manner", "extent")
_META = re.compile(r"_\w+_")


def is_meta(key: Any) -> bool:
    """Whether a key says something about its part, and is no option of it: `_target_`, `_partial_`, `_options_`, …"""
    return _META.fullmatch(str(key)) is not None


def declared(config: Any, *kinds: str) -> list[str]:
    """The dotted keys of the options of these kinds, of every part of a plain configuration; those that it has.

    Raises ValueError for a kind that there is not.
    """
    found = []
    for place, node in _parts(config):
        options = node.get("_options_")
        for option, kind in options.items() if isinstance(options, Mapping) else ():
            if kind not in KINDS:
                raise ValueError(f"{place}._options_.{option} is one of {', '.join(KINDS)}; got {kind!r}")
            if kind in kinds and option in node:
                found.append(f"{place}.{option}")
    return found


def has_fixed_extent(config: Any) -> bool:
    """Whether a part is laid out over the whole extent, such as a learning rate that falls to nothing at its end."""
    return any(node.get("_fixed_extent_") for _, node in _parts(config))


def _parts(node: Any, place: str = "") -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every mapping below a node, with where it is."""
    if not isinstance(node, Mapping):
        return
    if place:
        yield place, node
    for key, value in node.items():
        yield from _parts(value, f"{place}.{key}" if place else str(key))
