"""A progress bar in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def bar(things: Iterable[Any], what: str, total: int) -> Iterator[Any]:
    """Goes through things, showing on stderr how many of `total` are done."""
    from rich.console import Console
    from rich.progress import track

    yield from track(things, description=what, total=total, console=Console(stderr=True))
