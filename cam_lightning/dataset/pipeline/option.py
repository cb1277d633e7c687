"""Ranges of options, said beside the options that they bound, in one line, before any data are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers here takes."""


def whole(option: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """A whole number of a range, both ends included; ValueError, with the option's name, for anything else."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{option} is a whole number {bounds}; got {value!r:.80}")
    return int(value)


def seed(option: str, value: Any) -> int:
    """The seed of a generator of random numbers; raises as `whole`."""
    return whole(option, value, 0, LARGEST_SEED)


def share(option: str, value: Any, up_to_one: bool = False) -> float:
    """A number between 0 and 1, of which 1 may be one; raises as `whole`."""
    if not is_number(value) or not (0 < value < 1 or (up_to_one and value == 1)):
        bounds = "lies above 0 and is at most 1" if up_to_one else "lies between 0 and 1"
        raise ValueError(f"{option} {bounds}; got {value!r:.80}")
    return float(value)


def interval(option: str, value: Any, most: float = math.inf) -> tuple[float, float]:
    """Two numbers above 0, the second not below the first; raises as `whole`."""
    is_pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    if not is_pair or not all(is_number(end) and 0 < end <= most for end in value) or value[0] > value[1]:
        bounds = "above 0" if most == math.inf else f"above 0 and at most {most:g}"
        raise ValueError(f"{option} is [FROM, TO], two numbers {bounds}, the smaller first; got {value!r:.80}")
    return float(value[0]), float(value[1])


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def path_text(option: str, value: Any) -> str:
    """The path that an option gives, as text: folders called `2017` arrive as numbers. Raises as `whole`."""
    if value is None or isinstance(value, bool | float) or not str(value) or not isinstance(value, str | int):
        raise ValueError(f"{option} is a path; got {value!r:.80}")
    return str(value)
