"""A fixed sample of every evaluation as pictures, and all of them on one sheet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cam_lightning.contracts import GroundTruth, ImageSource, Localization
from cam_lightning.functional.overlap import best_overlap, written_overlap
from cam_lightning.functional.overlay import COLOUR_MAPS, PNG_LEVEL, Caption, contact_sheet, localization_picture


class Overlays:
    """Writes `overlays/<split>/*.png` for `count` images, the same in every epoch, and a sheet `<split>.png`.

    The sample follows from `seed` and the split's length. Each picture shows the best class's map and box.
    """

    def __init__(
        self,
        run_dir: str,
        count: int = 24,
        seed: int = 0,
        colour_map: str = "inferno",
        iou_threshold: float = 0.5,
    ) -> None:
        if colour_map not in COLOUR_MAPS:
            raise ValueError(f"the overlays' colour_map is one of {', '.join(COLOUR_MAPS)}; got {colour_map!r}")
        self.root = Path(run_dir) / "overlays"
        self.count = count
        self.seed = seed
        self.colour_map = colour_map
        self.iou_threshold = iou_threshold

    def start(self, split: str, source: ImageSource, class_names: Sequence[str], rank: int, world_size: int) -> None:
        self.split, self.source, self.class_names = split, source, class_names
        random = np.random.Generator(np.random.Philox(self.seed))
        self.sample = set(random.permutation(len(source))[: self.count].tolist())
        self.folder = self.root / split
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, localization: Localization, truth: GroundTruth, further: Mapping[str, Localization]) -> None:
        rows = [row for row, index in enumerate(localization.index_B.tolist()) if index in self.sample]
        if not rows:
            return
        iou_BP = best_overlap(localization.proposals.boxes_BP4, truth.boxes_BN4, truth.num_boxes_B)
        for row in rows:
            index = int(localization.index_B[row])
            picture = localization_picture(
                self.source.original(index),
                localization.map_BThw[row, 0].numpy(),
                localization.proposals.boxes_BP4[row, :1].numpy(),
                truth.boxes_BN4[row, : int(truth.num_boxes_B[row])].numpy(),
                self._caption(localization, truth, row, float(iou_BP[row, 0])),
                self.colour_map,
            )
            path = self.folder / f"{index:06d}_{_file_name(self.source.ids[index])}.png"
            Image.fromarray(picture).save(path, compress_level=PNG_LEVEL)

    def finish(self) -> None:
        """Nothing is left to write."""

    def merge(self) -> None:
        """Lays the pictures of all ranks on one sheet."""
        pictures = [np.asarray(Image.open(path)) for path in sorted(self.folder.glob("*.png"))]
        if pictures:
            Image.fromarray(contact_sheet(pictures)).save(self.root / f"{self.split}.png", compress_level=PNG_LEVEL)

    def _caption(self, localization: Localization, truth: GroundTruth, row: int, iou: float) -> Caption:
        predicted, label = int(localization.classes_BT[row, 0]), int(truth.label_B[row])
        probability = float(localization.probability_BT[row, 0])
        headline = f"{self.class_names[predicted]}  {probability:.0%}"
        detail = "class right" if predicted == label else f"class wrong: {self.class_names[label]}"
        if int(truth.num_boxes_B[row]):
            verdict = "hit" if iou >= self.iou_threshold else "miss"
            detail = f"IoU {written_overlap(iou)} ({verdict}), {detail}"
        return Caption(headline, detail)


def _file_name(image_id: str) -> str:
    """An id as part of a file's name: its last component, with everything unusual replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(image_id).stem)[:60]
