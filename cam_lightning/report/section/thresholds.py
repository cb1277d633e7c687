"""The same errors at thresholds that were chosen in different ways, and what each way costs."""

from __future__ import annotations

from typing import Any, NamedTuple

from cam_lightning.report.number import ABSENT, said
from cam_lightning.report.page import RunPage
from cam_lightning.report.run_record import RunRecord
from cam_lightning.report.split_results import spec_of

PLACE = 12
ANCHOR = "thresholds"
NAME = "Thresholds"
TITLE = "What a threshold costs"
FILES = ("results.json",)

RULES = ("selected", "label_free", "oracle")
"""Ways of choosing, as suffixes of keys; any other suffix is a threshold that was fixed beforehand."""


class Way(NamedTuple):
    """One way of choosing a threshold, with its numbers as text."""

    title: str
    cells: list[str]
    """Of each error: its value and the threshold."""
    above: list[str]
    """Of each error: how far it lies above the best threshold's, in points."""
    boxes: str
    """Whose boxes it has seen."""


class Ways(NamedTuple):
    """The table."""

    columns: list[str]
    rows: list[Way]


def content(page: RunPage) -> dict[str, Any] | None:
    """The table; nothing where no threshold was chosen but the run's own."""
    table = ways(page.record, page.split)
    return None if table is None else {"ways": table}


def ways(record: RunRecord, split: str) -> Ways | None:
    """Every error that has a best threshold, by all ways of choosing one that the run has numbers of."""
    numbers, specs = record.numbers, record.specs
    errors = [key.removesuffix("@oracle") for key in numbers if key.startswith(f"{split}/") and key.endswith("@oracle")]
    errors = [key for key in errors if not spec_of(key, specs).arm and numbers.get(key) is not None]
    if not errors:
        return None
    suffixes = ["", *dict.fromkeys(key[len(e) :] for e in errors for key in numbers if _is_variant(key, e))]
    return Ways(
        [spec_of(key, specs).title for key in errors],
        [
            Way(
                _title(record, errors, suffix),
                [_cell(record, error, suffix) for error in errors],
                [_above(record, error, suffix) for error in errors],
                _boxes(record, split, suffix.removeprefix("@")),
            )
            for suffix in suffixes
        ],
    )


def _is_variant(key: str, error: str) -> bool:
    return key.startswith(f"{error}@") and not key.endswith("/threshold")


def _title(record: RunRecord, errors: list[str], suffix: str) -> str:
    rule = suffix.removeprefix("@")
    if rule in RULES:
        return next(spec.label for error in errors if (spec := record.specs.get(error + suffix)) is not None)
    own = record.results.get("protocol/box/threshold")
    fixed = rule or (f"{own:g}, the run’s own" if isinstance(own, float | int) else "the run’s own")
    return f"fixed beforehand: {fixed}"


def _cell(record: RunRecord, error: str, suffix: str) -> str:
    value, threshold = record.numbers.get(error + suffix), record.numbers.get(f"{error}{suffix}/threshold")
    if value is None:
        return ABSENT
    return said(spec_of(error, record.specs), value) + ("" if threshold is None else f" at {threshold:g}")


def _above(record: RunRecord, error: str, suffix: str) -> str:
    value, best = record.numbers.get(error + suffix), record.numbers.get(f"{error}@oracle")
    if value is None or best is None or suffix == "@oracle":
        return ""
    return f"{100 * (value - best):+.2f}"


def _boxes(record: RunRecord, split: str, rule: str) -> str:
    if rule == "oracle":
        return "those that it is scored by"
    if rule != "selected":
        return "none"
    count = record.numbers.get(f"{split}/num_boxed_images_for_selection")
    return "validation" if count is None else f"{count:,.0f} validation images"
