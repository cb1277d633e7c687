"""Published JSON as it should be: a list of records whose fields are of the kinds that are expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KINDS = {str: "a text", int: "a whole number", list: "a list"}


def read_json(data: bytes, file: str) -> Any:
    """What a JSON file holds; `file` is its name in messages. Raises ValueError where it is not JSON."""
    try:
        return json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{file} is not what it should be: its lists lie too deep in each other") from error


def records(content: Any, key: str, fields: Mapping[str, type], file: str) -> list[dict[str, Any]]:
    """The list at `key` of an object, of objects that have all of `fields`.

    Raises ValueError, naming the file and the entry, for anything else, and for a list without an entry.
    """
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        has = f"it has {', '.join(list(content)[:10]) or 'nothing'}" if isinstance(content, dict) else "it is no object"
        raise ValueError(f"{file}: expected an object with a list called {key}; {has}")
    if not entries:
        raise ValueError(f"{file}: the list {key} is empty")
    for number, entry in enumerate(entries, start=1):
        for field, kind in fields.items():
            value = entry.get(field) if isinstance(entry, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                shown = (
                    json.dumps(entry)[:80] if not isinstance(entry, dict) else f"{field} is {json.dumps(value)[:80]}"
                )
                raise ValueError(f"{file}: entry {number} of {key}: {shown}, where {field} should be {KINDS[kind]}")
    return entries
