"""Every image's predictions, in one table."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cam_lightning.contracts import GroundTruth, ImageSource, Localization
from cam_lightning.functional.overlap import best_overlap

COLUMNS = (
    "id",
    "label",
    "label_name",
    "width",
    "height",
    "truth_boxes",
    "classes",
    "names",
    "class_ids",
    "probabilities",
    "boxes",
    "ranks",
    "ious",
    "gt_known_box",
    "gt_known_iou",
)


class Predictions:
    """Writes `predictions.csv` of the test split: one row per image, in the dataset's order.

    Boxes are xyxy, half-open, in the original's pixels; columns of several values hold JSON lists. `classes`,
    `names`, `class_ids` (the dataset's own names) and `probabilities` go with the ranked classes, `boxes` and `ious`
    with the guesses, and `ranks` say which ranked class each guess is of. IoU is not rounded, so that it says hit or
    miss as the metrics do. Each rank writes a part; rank zero merges them.
    """

    def __init__(self, run_dir: str, splits: Sequence[str] = ("test",)) -> None:
        self.root = Path(run_dir)
        self.splits = tuple(splits)

    def start(self, split: str, source: ImageSource, class_names: Sequence[str], rank: int, world_size: int) -> None:
        self.active = split in self.splits
        if not self.active:
            return
        self.source, self.class_names = source, class_names
        self.parts = [self._part(split, part_rank) for part_rank in range(world_size)]
        self.target = self.root / ("predictions.csv" if split == "test" else f"predictions_{split}.csv")
        self.file = self.parts[rank].open("w", encoding="utf-8")

    def add(self, localization: Localization, truth: GroundTruth, further: Mapping[str, Localization]) -> None:
        if not self.active:
            return
        iou_BP = best_overlap(localization.proposals.boxes_BP4, truth.boxes_BN4, truth.num_boxes_B)
        known_iou_B = best_overlap(localization.label_box_B4[:, None], truth.boxes_BN4, truth.num_boxes_B)[:, 0]
        for row, index in enumerate(localization.index_B.tolist()):
            classes = localization.classes_BT[row].tolist()
            label = int(truth.label_B[row])
            height, width = truth.size_B2[row].tolist()
            has_boxes = int(truth.num_boxes_B[row]) > 0
            values: list[Any] = [
                self.source.ids[index],
                label,
                self.class_names[label],
                width,
                height,
                _rounded(truth.boxes_BN4[row, : int(truth.num_boxes_B[row])]),
                classes,
                [self.class_names[c] for c in classes],
                [self.source.class_names[c] for c in classes],
                _rounded(localization.probability_BT[row], 6),
                _rounded(localization.proposals.boxes_BP4[row]),
                list(localization.proposals.rank_P),
                iou_BP[row].tolist() if has_boxes else [],
                _rounded(localization.label_box_B4[row]),
                float(known_iou_B[row]) if has_boxes else "",
            ]
            self.file.write(json.dumps([index, values], ensure_ascii=False) + "\n")

    def finish(self) -> None:
        if self.active:
            self.file.close()

    def merge(self) -> None:
        """Puts the parts of all ranks together, and removes them."""
        if not self.active:
            return
        rows: list[tuple[int, list[Any]]] = []
        for part in self.parts:
            # Not `str.splitlines`: it also breaks lines at characters that names may hold.
            with part.open(encoding="utf-8") as file:
                rows += [tuple(json.loads(line)) for line in file]
        with self.target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for _, values in sorted(rows, key=lambda row: row[0]):
                writer.writerow(json.dumps(v, ensure_ascii=False) if isinstance(v, list) else v for v in values)
        for part in self.parts:
            part.unlink()

    def _part(self, split: str, rank: int) -> Path:
        return self.root / f".predictions_{split}_{rank}.jsonl"


def _rounded(values: Tensor, digits: int = 2) -> Any:
    """Nested lists of numbers short enough to read."""
    if values.ndim == 0:
        return round(float(values), digits)
    return [_rounded(value, digits) for value in values]
