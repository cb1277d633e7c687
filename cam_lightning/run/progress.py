"""A progress bar in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def bar(items: Iterable[Any], what: str, total: int) -> Iterator[Any]:
    """Goes through items, showing on stderr how many of `total` are done."""
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=what, total=total, console=Console(stderr=True))
