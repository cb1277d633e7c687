"""Going through people's folders: links are followed, and what systems leave beside their files is none of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

COMPANION = "hidden, or a system's own"
LINK_BACK = "a link back to a folder that it lies in"

NAMES = frozenset(
    (
        *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot", "lost+found"),
        *("picasa.ini", "zbthumbnail.info", "__pycache__"),
    )
)
"""What systems and programs keep beside files: macOS, Windows, Synology, QNAP, ext4, Picasa, Canon, Python. In lower
case."""
ENDINGS = ("@synoeastream", "@synoresource")


def is_companion(name: str) -> bool:
    """Whether a file's or a folder's name is hidden, or one that a system gives to what it keeps for itself.

    Hidden are names that begin with a dot: `._photo.jpg`, `.DS_Store`, `.ipynb_checkpoints`, `.Trashes`, …
    """
    lower = name.lower()
    return lower.startswith(".") or lower in NAMES or lower.endswith(ENDINGS)


def walk(
    root: Path,
    below: str = "",
    passed_over: Callable[[str, str], object] = lambda why, path: None,
    enters: Callable[[str], bool] = lambda path: True,
) -> Iterator[tuple[str, list[str], list[str]]]:
    """(A folder, the folders in it, the files in it), from `root/below` down, sorted; links are followed.

    Folders are paths below `root`, files are names. Companions, and links to a folder that they lie in, are no
    entries: `passed_over(why, path)` hears of each. Folders that are not to be entered are listed, and no more.
    Raises OSError where a folder cannot be listed.
    """

    def visit(folder: str, above: frozenset[str]) -> Iterator[tuple[str, list[str], list[str]]]:
        above |= {os.path.realpath(root / folder)}
        folders, files = [], []
        for name in sorted(os.listdir(root / folder)):
            path = f"{folder}/{name}" if folder else name
            if is_companion(name):
                passed_over(COMPANION, path)
            elif not os.path.isdir(root / path):
                files.append(name)
            elif os.path.realpath(root / path) in above:
                passed_over(LINK_BACK, path)
            else:
                folders.append(path)
        yield folder, folders, files
        for path in folders:
            if enters(path):
                yield from visit(path, above)

    yield from visit(below, frozenset())
