"""What a check of a dataset found, as text for people and as plain data for programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from cam_lightning.dataset.pipeline.image_file import TRAITS
from cam_lightning.dataset.tool.check import Report, SplitReport

LINES_PER_KIND = 20
"""How many findings of one kind are printed; the JSON has all."""
CLASSES_SHOWN = 40


def as_text(report: Report) -> str:
    """The whole report: counts per split, per class and per kind of file, then what is wrong and what to know."""
    num_classes = max((len(split.num_per_class) for split in report.splits.values()), default=0)
    how = "every image decoded" if report.is_deep else "headers read; deep=true decodes every image"
    lines = [f"{report.dataset}: {num_classes:,} classes ({how})", ""]
    if report.splits:
        lines += _table(report.splits), ""
        lines += [*_classes(report.splits), ""]
    for title, is_wrong in (("wrong", True), ("to know", False)):
        kinds: dict[str, list[str]] = {}
        for finding in report.findings:
            if finding.is_wrong == is_wrong:
                kinds.setdefault(finding.kind, []).append(finding.what)
        lines += [line for kind, whats in kinds.items() for line in _kind(f"{title}: {kind}", whats)]
    lines += _hints(report.splits)
    count = len(report.wrong)
    lines.append(f"Found wrong: {count:,}. Mend it before training." if count else "Nothing is wrong.")
    return "\n".join(lines) + "\n"


def as_data(report: Report) -> dict[str, Any]:
    """The same, whole, as what JSON knows."""
    return {
        "dataset": report.dataset,
        "deep": report.is_deep,
        "is_wrong": bool(report.wrong),
        "splits": {name: split._asdict() for name, split in report.splits.items()},
        "findings": [finding._asdict() for finding in report.findings],
    }


def _table(splits: dict[str, SplitReport]) -> str:
    rows = [["split", "images", "boxes", "no box", *TRAITS]]
    for name, split in splits.items():
        traits = [f"{split.traits.get(trait, 0):,}" for trait in TRAITS]
        rows.append([name, f"{split.num_images:,}", f"{split.num_boxes:,}", f"{split.num_without_box:,}", *traits])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _classes(splits: dict[str, SplitReport]) -> list[str]:
    lines = []
    for name, split in splits.items():
        counts = np.array(list(split.num_per_class.values()))
        lines.append(f"{name}, images per class: {counts.min():,} to {counts.max():,}, median {np.median(counts):g}")
    names = next(iter(splits.values())).num_per_class
    if len(names) <= CLASSES_SHOWN:
        lines += [
            f"  {name}: " + ", ".join(f"{split.num_per_class[name]:,} {key}" for key, split in splits.items())
            for name in names
        ]
    return lines


def _kind(title: str, whats: list[str]) -> list[str]:
    more = [f"  … and {len(whats) - LINES_PER_KIND:,} more"] if len(whats) > LINES_PER_KIND else []
    return [f"{title} ({len(whats):,})", *(f"  {what}" for what in whats[:LINES_PER_KIND]), *more, ""]


def _hints(splits: dict[str, SplitReport]) -> list[str]:
    overhanging = sum(split.num_overhanging for split in splits.values())
    if not overhanging:
        return []
    return [
        f"to know: the boxes of {overhanging:,} images end up to a pixel outside them: rounding, or coordinates that "
        "count from 1 (dataset.first_pixel=1 of dataset=folder)",
        "",
    ]
