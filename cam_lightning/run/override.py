"""Overrides (`key=value`) as text: what Hydra's grammar reads, and what we write for it."""

from __future__ import annotations

import re


def assign(key: str, value: object) -> str:
    """An override that sets `key` to the text `value`, quoted so that the grammar takes every character as it is."""
    # Within quotes, backslashes count only before a quote.
    text = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), str(value))
    return f"{key}='{text}'"


def key_of(override: str) -> str:
    """What an override changes, without the sign of adding or deleting."""
    return override.partition("=")[0].lstrip("+~")
