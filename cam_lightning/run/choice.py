"""What to say of a name that there is not: a few of those that there are, and never all of hundreds."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

SHOWN = 8


def nearest(wrong: str, names: Iterable[str], first: Collection[str] = ()) -> str:
    """`a, b, … (and 90 more)`: the names most alike, then those of `first`, then the others by their alphabet."""
    names = sorted(set(names))
    alike = difflib.get_close_matches(wrong, names, n=SHOWN // 2)
    others = [*(name for name in first if name in names), *names]
    shown = list(dict.fromkeys([*alike, *others]))[:SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" (and {more} more)" if more > 0 else "")
