"""The true class's map of every image as a file, in the layout that the WSOL benchmark and `evaluate_maps` read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cam_lightning.contracts import GroundTruth, ImageSource, Localization, Reads
from cam_lightning.dataset.format.map_folder import RAW_FILE
from cam_lightning.functional.post_processing import PostProcessing, map_height_and_width, score_map
from cam_lightning.run.file import json_text

LONGEST_NAME = 255
"""Bytes of a file's name, on every usual file system."""
log = logging.getLogger(__name__)


class Maps:
    """Writes `maps/<split>/<image_id>.npy` and `metadata/<split>/*.txt` of some splits; of none by default.

    A map is a float16 score from 0 to 1: the raw map upsampled (bicubic) to height and width `map_size`, or left at
    its own cells where that is None, then normalised from minimum to maximum; one that names no region is 0. With `raw`
    it is float32, as it was made and at its own cells, and `raw.json` beside the maps says what a value is. The
    metadata list the images with a known box, with inclusive corners in whole pixels of the original; where there is
    none (masks alone), there are no metadata. Each rank writes its maps, and rank zero the metadata.
    """

    reads: Reads = "label"

    def __init__(
        self,
        run_dir: str,
        splits: Sequence[str] = (),
        map_size: Sequence[int] | None = (224, 224),
        raw: bool = False,
    ) -> None:
        self.root = Path(run_dir)
        self.splits = tuple(splits)
        self.map_size = (
            None if map_size is None else map_height_and_width("callback.localization.sinks.maps.map_size", map_size)
        )
        self.raw = raw
        self.rule = PostProcessing("nearest" if map_size is None else "bicubic", normalise="minmax")

    def check(self, split: str, source: ImageSource) -> None:
        """Raises ValueError for an id that cannot be a file's name, of a split whose maps are written."""
        for image_id in source.ids if split in self.splits else ():
            if reason := _why_no_file(image_id):
                raise ValueError(
                    f"the image {image_id!r} of the {split} split cannot have a file of its map: {reason}. Rename it, "
                    "or write no maps (callback.localization.sinks.maps.splits=[])"
                )

    def start(self, split: str, source: ImageSource, class_names: Sequence[str], rank: int, world_size: int) -> None:
        self.active = split in self.splits
        if not self.active:
            return
        self.ids = source.ids
        self.maps, self.metadata = self.root / "maps" / split, self.root / "metadata" / split
        self.metadata.mkdir(parents=True, exist_ok=True)
        self.parts = [self.metadata / f".part_{part_rank}.jsonl" for part_rank in range(world_size)]
        self.file = self.parts[rank].open("w", encoding="utf-8")

    def add(self, localization: Localization, truth: GroundTruth, further: Mapping[str, Localization]) -> None:
        if not self.active:
            return
        for row, index in enumerate(localization.index_B.tolist()):
            path = Path(f"{self.maps}/{self.ids[index]}.npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, self._values(localization.label_map_Bhw[row]))
            boxes = truth.boxes_BN4[row, : int(truth.num_boxes_B[row])].tolist()
            self.file.write(json_text([index, int(truth.label_B[row]), truth.size_B2[row].tolist(), boxes]) + "\n")

        if self.raw:
            told = {"values": "raw maps of the true classes, float32", "unit": localization.unit or "not said"}
            self.maps.mkdir(parents=True, exist_ok=True)
            (self.maps / RAW_FILE).write_text(json_text(told) + "\n", encoding="utf-8")

    def _values(self, map_hw: Tensor) -> np.ndarray:
        if self.raw:
            return map_hw.float().numpy()
        own_size = (map_hw.shape[0], map_hw.shape[1])
        return score_map(map_hw, self.map_size or own_size, self.rule).astype(np.float16)

    def finish(self) -> None:
        if self.active:
            self.file.close()

    def merge(self) -> None:
        """Makes the metadata of all ranks' parts, and removes them."""
        if not self.active:
            return
        rows: list[Any] = [json.loads(line) for part in self.parts for line in part.read_text().splitlines()]
        lines: dict[str, list[str]] = {
            name: [] for name in ("image_ids", "class_labels", "image_sizes", "localization")
        }
        for index, label, (height, width), boxes in sorted(rows):
            if boxes:
                name = self.ids[index]
                lines["image_ids"].append(name)
                lines["class_labels"].append(f"{name},{label}")
                lines["image_sizes"].append(f"{name},{width},{height}")
                lines["localization"] += [",".join([name, *map(str, _inclusive_corners(box))]) for box in boxes]
        if not lines["image_ids"]:
            log.warning(
                "%s stays empty: no image has a known box, and masks are not written; evaluate_maps takes the "
                "dataset's own metadata",
                self.metadata,
            )
        for name, own in lines.items() if lines["image_ids"] else ():
            (self.metadata / f"{name}.txt").write_text("".join(f"{line}\n" for line in own), encoding="utf-8")
        if any(value != int(value) for *_, boxes in rows for box in boxes for value in box):
            log.warning("the corners in %s are rounded to whole pixels", self.metadata / "localization.txt")
        for part in self.parts:
            part.unlink()


def _why_no_file(image_id: str) -> str:
    """Why no file of a map, and no line of the metadata, can be called after an image; empty where they can."""
    if {"\n", "\r", "\0"} & set(image_id) or ".." in Path(image_id).parts:
        return "its id is no path in one line"
    try:
        parts = [part.encode("utf-8") for part in Path(f"{image_id}.npy").parts]
    except UnicodeEncodeError:
        return "its id is not written in UTF-8"
    if any(len(part) > LONGEST_NAME for part in parts):
        return f"its name with .npy has more than the {LONGEST_NAME} bytes that a file's can have"
    return ""


def _inclusive_corners(box_4: Sequence[float]) -> list[int]:
    """At least one pixel, as the layout has no empty boxes."""
    x0, y0, x1, y1 = (round(value) for value in box_4)
    return [x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)]
