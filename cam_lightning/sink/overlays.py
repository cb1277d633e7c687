"""A fixed sample of every evaluation as pictures, and all of them on one sheet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cam_lightning.contracts import GroundTruth, ImageSource, Localization
from cam_lightning.functional.map_colours import CHOICES, largest_value
from cam_lightning.functional.overlap import best_overlap, written_overlap
from cam_lightning.functional.overlay import PNG_LEVEL, Caption, contact_sheet, localization_picture
from cam_lightning.run.file import json_text


class _Seen(NamedTuple):
    """What one picture shows, as plain values, which can wait in a file for those of other ranks."""

    position: int
    """Of the image in its split."""
    map_hw: list[list[float]]
    box_14: list[list[float]]
    truth_N4: list[list[float]]
    caption: Caption
    unit: str


class Overlays:
    """Writes `overlays/<split>/*.png` for `count` images, the same in every epoch, and a sheet `<split>.png`.

    The sample follows from `seed` and the split's length. Each picture shows the best class's map and box. `scale` is
    what the brightest colour stands for: each map's `own` maximum, one that is `shared` by all pictures of the split
    (the greatest value among them), or a number of the map's own unit; the last two have a colour bar. Raises
    ValueError for another one, and for unknown colours.
    """

    def __init__(
        self,
        run_dir: str,
        count: int = 24,
        seed: int = 0,
        colour_map: str = "inferno",
        iou_threshold: float = 0.5,
        scale: str | float = "own",
    ) -> None:
        if colour_map not in CHOICES:
            raise ValueError(f"the overlays' colour_map is one of {', '.join(CHOICES)}; got {colour_map!r}")
        is_number = isinstance(scale, int | float) and not isinstance(scale, bool) and 0 < scale < float("inf")
        if scale not in ("own", "shared") and not is_number:
            raise ValueError(f"the overlays' scale is own, shared, or a number above 0; got {scale!r}")
        self.root = Path(run_dir) / "overlays"
        self.count = count
        self.seed = seed
        self.colour_map = colour_map
        self.iou_threshold = iou_threshold
        self.scale = scale

    def start(self, split: str, source: ImageSource, class_names: Sequence[str], rank: int, world_size: int) -> None:
        self.split, self.source, self.class_names = split, source, class_names
        random = np.random.Generator(np.random.Philox(self.seed))
        self.sample = set(random.permutation(len(source))[: self.count].tolist())
        self.folder = self.root / split
        self.folder.mkdir(parents=True, exist_ok=True)
        self.parts = [self.folder / f".part_{part_rank}.jsonl" for part_rank in range(world_size)]
        self.rank = rank
        self.waiting: list[_Seen] = []

    def add(self, localization: Localization, truth: GroundTruth, further: Mapping[str, Localization]) -> None:
        rows = [row for row, index in enumerate(localization.index_B.tolist()) if index in self.sample]
        if not rows:
            return
        iou_BP = best_overlap(localization.proposals.boxes_BP4, truth.boxes_BN4, truth.num_boxes_B)
        for row in rows:
            seen = _Seen(
                int(localization.index_B[row]),
                localization.map_BThw[row, 0].tolist(),
                localization.proposals.boxes_BP4[row, :1].tolist(),
                truth.boxes_BN4[row, : int(truth.num_boxes_B[row])].tolist(),
                self._caption(localization, truth, row, float(iou_BP[row, 0])),
                localization.unit,
            )
            if self.scale == "shared":
                self.waiting.append(seen)
            else:
                self._draw(seen, None if self.scale == "own" else float(self.scale))

    def finish(self) -> None:
        """Hands on what waits for the other ranks' maps."""
        if self.scale == "shared":
            self.parts[self.rank].write_text("".join(f"{json_text(seen)}\n" for seen in self.waiting))

    def merge(self) -> None:
        """Draws what has waited for the whole split's scale, and lays the pictures of all ranks on one sheet."""
        if self.scale == "shared":
            lines = [line for part in self.parts for line in part.read_text().splitlines()]
            waited = [_Seen(*json.loads(line)) for line in lines]
            limit = max((largest_value(_cells(seen.map_hw), self.colour_map) for seen in waited), default=0.0)
            for seen in waited:
                self._draw(seen._replace(caption=Caption(*seen.caption)), limit)
            for part in self.parts:
                part.unlink()
        pictures = [np.asarray(Image.open(path)) for path in sorted(self.folder.glob("*.png"))]
        if pictures:
            Image.fromarray(contact_sheet(pictures)).save(self.root / f"{self.split}.png", compress_level=PNG_LEVEL)

    def _draw(self, seen: _Seen, limit: float | None) -> None:
        picture = localization_picture(
            self.source.original(seen.position),
            _cells(seen.map_hw),
            np.array(seen.box_14, np.float32).reshape(-1, 4),
            np.array(seen.truth_N4, np.float32).reshape(-1, 4),
            seen.caption,
            self.colour_map,
            limit,
            seen.unit.partition(" (")[0],
        )
        path = self.folder / f"{seen.position:06d}_{_file_name(self.source.ids[seen.position])}.png"
        Image.fromarray(picture).save(path, compress_level=PNG_LEVEL)

    def _caption(self, localization: Localization, truth: GroundTruth, row: int, iou: float) -> Caption:
        predicted, label = int(localization.classes_BT[row, 0]), int(truth.label_B[row])
        probability = float(localization.probability_BT[row, 0])
        headline = f"{self.class_names[predicted]}  {probability:.0%}"
        detail = "class right" if predicted == label else f"class wrong: {self.class_names[label]}"
        if int(truth.num_boxes_B[row]):
            verdict = "hit" if iou >= self.iou_threshold else "miss"
            detail = f"IoU {written_overlap(iou)} ({verdict}), {detail}"
        return Caption(headline, detail)


def _cells(map_hw: list[list[float]]) -> np.ndarray:
    """A map, float32; null, which stands in JSON for what is no finite number, is NaN."""
    return np.array(map_hw, np.float32)


def _file_name(image_id: str) -> str:
    """An id as part of a file's name: its last component, with everything unusual replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(image_id).stem)[:60]
