"""What values options may have, said beside them in their own yaml and checked in one place, before data are read.

_ranges_: {learning_rate: ">= 0", units: "whole, >= 1", map_size: "null or each whole, >= 1", rectify: true or false}

A range is one alternative or several with `or` between them: bounds with commas between, `whole` among them for whole
numbers, or a word as it stands, `null`, `true` and `false` among them; `path` is any text. Numbers are finite. What
follows `each` is the range of every value in a list or a mapping; without it, the option is one value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cam_lightning.run.option import is_meta

_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def require_ranges(config: Any) -> None:
    """Raises ValueError, with the option, its value and its range, for the first option outside of its own."""
    for place, node in _parts(config):
        ranges = node.get("_ranges_")
        for option, allowed in ranges.items() if isinstance(ranges, Mapping) else ():
            name = f"{place}.{option}" if place else str(option)
            words = _text(allowed)
            of_one, _, of_each = words.partition("each ")
            several = option in node and isinstance(node[option], Mapping | list | tuple) and bool(of_each)
            for value in [] if option not in node else _values(node[option]) if several else [node[option]]:
                if not in_range(value, of_each if several else of_one):
                    raise ValueError(f"{name} is {words}; got {value!r:.80}")


def in_range(value: Any, allowed: str) -> bool:
    """Whether a range in words holds one value; ValueError for words that are no range."""
    alternatives = (alternative.strip() for alternative in allowed.removesuffix(" or ").split(" or "))
    return any(_fits(value, alternative) for alternative in alternatives if alternative)


def _fits(value: Any, alternative: str) -> bool:
    parts = [part.strip() for part in alternative.split(",")]
    if parts[0] != "whole" and parts[0].partition(" ")[0] not in _BOUNDS:
        if value is None or isinstance(value, bool):
            return alternative == _text(value)
        if alternative == "path":
            return isinstance(value, str) and value != ""
        return str(value) == alternative and alternative not in ("true", "false", "null")
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return is_number and all(_holds(value, part) for part in parts)


def _holds(value: float, part: str) -> bool:
    if part == "whole":
        return isinstance(value, int)
    sign, _, bound = part.partition(" ")
    if sign not in _BOUNDS:
        raise ValueError(f"{part!r} is no bound: it is whole, or one of {', '.join(_BOUNDS)} and a number")
    return _BOUNDS[sign](value, float(bound))


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if not is_meta(key):
                yield from _values(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _values(each)
    else:
        yield value


def _parts(node: Any, place: str = "") -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every mapping, the whole configuration first, with where it is."""
    if isinstance(node, Mapping):
        yield place, node
        for key, value in node.items():
            if not is_meta(key):
                yield from _parts(value, f"{place}.{key}" if place else str(key))
