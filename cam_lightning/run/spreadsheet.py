"""Text from outside in a table that people open with a spreadsheet."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""What a spreadsheet takes for a formula, after any number of the apostrophes that we put before one."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def safe_cell(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would compute it (OWASP, "CSV injection").

    A number stays one, whatever its sign. `original_text` takes it back, for every text.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def original_text(cell: str) -> str:
    """What `safe_cell` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
