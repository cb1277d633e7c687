"""The best checkpoints by classes and by boxes, side by side: what choosing by one costs in the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from cam_lightning.report.number import ABSENT, said
from cam_lightning.report.page import RunPage
from cam_lightning.report.run_record import RunRecord
from cam_lightning.report.split_results import spec_of

PLACE = 25
ANCHOR = "checkpoints"
NAME = "Checkpoints"
TITLE = "What choosing a checkpoint costs"
FILES = ("results.json",)


class KeptRow(NamedTuple):
    """One checkpoint, with its validation's numbers as text."""

    name: str
    by: str
    epoch: str
    cells: list[str]
    beyond: list[str]
    """Of each number: how far it is from the best of the column, in points; empty where it is the best."""


class KeptTable(NamedTuple):
    """The table; the last validation's row comes last."""

    columns: list[str]
    rows: list[KeptRow]


def content(page: RunPage) -> dict[str, Any] | None:
    """The table; nothing where no checkpoint was kept by a number."""
    table = kept_table(page.record)
    return None if table is None else {"kept": table}


def kept_table(record: RunRecord) -> KeptTable | None:
    """What validation logged where each kept checkpoint was written; each checkpoint once."""
    kept = record.results.get("protocol/kept")
    if not isinstance(kept, dict) or not kept:
        return None
    by_name = {name: dict(row) for name, row in kept.items()}
    keys = [key for key in dict.fromkeys(key for row in by_name.values() for key in row) if key.startswith("val/")]
    last = {key: record.last_values[key] for key in keys if record.last_values.get(key) is not None}
    if last:
        by_name["last"] = {"by": "", "epoch": "last", **last}
    best = {}
    for key in keys:
        values = [row[key] for row in by_name.values() if key in row]
        best[key] = (max if spec_of(key, record.specs).better == "higher" else min)(values)
    return KeptTable(
        [spec_of(key, record.specs).title for key in keys],
        [
            KeptRow(
                name,
                spec_of(row["by"], record.specs).title if row.get("by") else "",
                str(row.get("epoch", "")),
                [said(spec_of(key, record.specs), row[key]) if key in row else ABSENT for key in keys],
                [_beyond(record, key, row.get(key), best[key]) for key in keys],
            )
            for name, row in by_name.items()
        ],
    )


def _beyond(record: RunRecord, key: str, value: float | None, best: float) -> str:
    if value is None or value == best or spec_of(key, record.specs).kind != "share":
        return ""
    return f"{100 * (value - best):+.2f}"
