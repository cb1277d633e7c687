"""Every image's predictions, in one table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cam_lightning.contracts import GroundTruth, ImageSource, Localization
from cam_lightning.functional.overlap import best_overlap
from cam_lightning.run.file import json_text
from cam_lightning.run.prediction_table import Prediction, table_file, write_predictions


class Predictions:
    """Writes `predictions.csv` of the test split: one row per image, in the dataset's order.

    Its columns are the fields of `run.prediction_table.Prediction`. Boxes are rounded to hundredths of a pixel. Each
    rank writes a part; rank zero merges them.
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
        self.target = table_file(self.root, split)
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
            prediction = Prediction(
                id=self.source.ids[index],
                label=label,
                label_name=self.class_names[label],
                width=width,
                height=height,
                truth_boxes=_rounded(truth.boxes_BN4[row, : int(truth.num_boxes_B[row])]),
                classes=classes,
                names=[self.class_names[c] for c in classes],
                class_ids=[self.source.class_names[c] for c in classes],
                probabilities=_rounded(localization.probability_BT[row], 6),
                boxes=_rounded(localization.proposals.boxes_BP4[row]),
                ranks=localization.proposals.rank_P,
                ious=iou_BP[row].tolist() if has_boxes else [],
                gt_known_box=_rounded(localization.label_box_B4[row]),
                gt_known_iou=float(known_iou_B[row]) if has_boxes else None,
            )
            self.file.write(json_text([index, prediction]) + "\n")

    def finish(self) -> None:
        if self.active:
            self.file.close()

    def merge(self) -> None:
        """Puts the parts of all ranks together, and removes them."""
        if not self.active:
            return
        rows: list[tuple[int, Prediction]] = []
        for part in self.parts:
            # Not `str.splitlines`: it also breaks lines at characters that names may hold.
            with part.open(encoding="utf-8") as file:
                rows += [(index, Prediction(*values)) for index, values in map(json.loads, file)]
        rows.sort(key=lambda row: row[0])
        write_predictions(self.target, (prediction for _, prediction in rows))
        for part in self.parts:
            part.unlink()

    def _part(self, split: str, rank: int) -> Path:
        return self.root / f".predictions_{split}_{rank}.jsonl"


def _rounded(values: Tensor, digits: int = 2) -> Any:
    """Nested lists of numbers short enough to read."""
    if values.ndim == 0:
        return round(float(values), digits)
    return [_rounded(value, digits) for value in values]
