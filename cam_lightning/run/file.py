"""Files whole or not at all, in the one way that a run writes them."""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Puts a file in place by one rename: whoever looks finds the old one or the new one, each complete.

    Raises OSError, and leaves the old file and nothing else, where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            # Else a machine that loses power may have the new name and not yet the new content.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8; lines end as they do in `text`.

    A file's name need not be valid text: its stray bytes become `\\udcff`, which JSON leads back to the file.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """As `write_bytes`: one JSON file for programs and people.

    What is not a finite number becomes null, with a warning that names the keys: such a number is no result, and
    one of them must not cost a run all its others.
    """
    lost = not_finite(content)
    if lost:
        log.warning("%s: null stands for what is no finite number: %s", path.name, ", ".join(lost))
    write_text(path, json_text(content, indent=2) + "\n")


def json_text(content: Any, indent: int | None = None) -> str:
    """JSON that every reader takes: Python's own NaN and Infinity, which are not JSON, are null."""
    return json.dumps(_finite(content), indent=indent, ensure_ascii=False, allow_nan=False)


def not_finite(content: Any, place: str = "") -> list[str]:
    """Where in nested containers a number is NaN or infinite."""
    if isinstance(content, float):
        return [] if math.isfinite(content) else [f"{place} ({content})"]
    if isinstance(content, Mapping):
        return [found for key, value in content.items() for found in not_finite(value, f"{place}.{key}".lstrip("."))]
    if isinstance(content, list | tuple):
        return [found for number, value in enumerate(content) for found in not_finite(value, f"{place}[{number}]")]
    return []


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
