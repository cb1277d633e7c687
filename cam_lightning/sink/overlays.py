"""A fixed sample of every evaluation as pictures, and all of them on one sheet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cam_lightning.contracts import GroundTruth, ImageSource, Localization, Reads
from cam_lightning.functional.map_colours import CHOICES, largest_value
from cam_lightning.functional.overlap import best_overlap, written_overlap
from cam_lightning.functional.overlay import (
    PANELS,
    PNG_LEVEL,
    SHOWN,
    Caption,
    Panel,
    class_verdict,
    contact_sheet,
    localization_picture,
    panels_picture,
)
from cam_lightning.run.file import json_text


class _Map(NamedTuple):
    """One map of a picture, as plain values."""

    arm: str
    map_hw: list[list[float]]
    box_14: list[list[float]]
    unit: str
    verdict: str
    """What is said of it where there are several."""


class _Seen(NamedTuple):
    """What one picture shows, as plain values, which can wait in a file for those of other ranks."""

    position: int
    """Of the image in its split."""
    maps: list[_Map]
    """The run's own, and then the further ones."""
    truth_N4: list[list[float]]
    caption: Caption
    shown_C: list[int] | None
    """As the truth has it, where the image shows several classes."""


class Overlays:
    """Writes `overlays/<split>/*.png` for `count` images, the same in every epoch, and a sheet `<split>.png`.

    The sample follows from `seed` and the split's length. Each picture shows the best class's map and box; of a run
    with several maps or box generators it shows the photo under each of them, by its name, and the file's `panels`
    say where (JSON of `functional.overlay.Place`); of an image of several classes its `shown` says which they are.
    `own` is the target of the run's own map, which names it there. `scale` is what the brightest colour stands for:
    each map's `own` maximum, one that is `shared` by all pictures of the split (the greatest value among a kind's
    maps), or a number of the map's own unit; the last two have a colour bar. Raises ValueError for another one, and for
    unknown colours.
    """

    def __init__(
        self,
        run_dir: str,
        count: int = 24,
        seed: int = 0,
        colour_map: str = "inferno",
        iou_threshold: float = 0.5,
        scale: str | float = "own",
        own: str = "",
    ) -> None:
        if colour_map not in CHOICES:
            raise ValueError(f"the overlays' colour_map is one of {', '.join(CHOICES)}; got {colour_map!r}")
        is_number = isinstance(scale, int | float) and not isinstance(scale, bool) and 0 < scale < float("inf")
        if scale not in ("own", "shared") and not is_number:
            raise ValueError(f"the overlays' scale is own, shared, or a number above 0; got {scale!r}")
        self.root = Path(run_dir) / "overlays"
        self.count = count
        self.reads: Reads = "best" if count else "label"
        self.seed = seed
        self.colour_map = colour_map
        self.iou_threshold = iou_threshold
        self.scale = scale
        self.own = _name_of_map(own)

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
        arms = {"": localization, **further}
        iou_B = {
            arm: best_overlap(each.proposals.boxes_BP4[:, :1], truth.boxes_BN4, truth.num_boxes_B)[:, 0]
            for arm, each in arms.items()
        }
        for row in rows:
            seen = _Seen(
                int(localization.index_B[row]),
                [self._map(arm, each, truth, row, float(iou_B[arm][row])) for arm, each in arms.items()],
                truth.boxes_BN4[row, : int(truth.num_boxes_B[row])].tolist(),
                self._caption(localization, truth, row, None if further else float(iou_B[""][row])),
                _shown(truth, row),
            )
            if self.scale == "shared":
                self.waiting.append(seen)
            else:
                self._draw(seen, {arm: None if self.scale == "own" else float(self.scale) for arm in arms})

    def finish(self) -> None:
        """Hands on what waits for the other ranks' maps."""
        if self.scale == "shared":
            lines = "".join(f"{json_text(seen)}\n" for seen in self.waiting)
            self.parts[self.rank].write_text(lines, encoding="utf-8")

    def merge(self) -> None:
        """Draws what has waited for the whole split's scale, and lays the pictures of all ranks on one sheet."""
        if self.scale == "shared":
            waited: list[_Seen] = []
            for part in self.parts:
                # Not `str.splitlines`: it also breaks lines at characters that names may hold.
                with part.open(encoding="utf-8") as file:
                    waited += [_read(json.loads(line)) for line in file]
            limits: dict[str, float | None] = {}
            for shown in (shown for seen in waited for shown in seen.maps):
                largest = largest_value(_cells(shown.map_hw), self.colour_map)
                limits[shown.arm] = max(largest, limits.get(shown.arm) or 0.0)
            for seen in waited:
                self._draw(seen, limits)
            for part in self.parts:
                part.unlink()
        pictures = [np.asarray(Image.open(path)) for path in sorted(self.folder.glob("*.png"))]
        if pictures:
            Image.fromarray(contact_sheet(pictures)).save(self.root / f"{self.split}.png", compress_level=PNG_LEVEL)

    def _draw(self, seen: _Seen, limits: Mapping[str, float | None]) -> None:
        """`limits` are what the brightest colour stands for, by the arm."""
        image_HW3, truth_N4 = self.source.original(seen.position), _boxes(seen.truth_N4)
        panels = [
            Panel(
                _cells(shown.map_hw),
                _boxes(shown.box_14),
                Caption(shown.arm or self.own, shown.verdict),
                limits[shown.arm],
                shown.unit.partition(" (")[0],
            )
            for shown in seen.maps
        ]
        told = PngInfo()
        if len(panels) == 1:
            (one,) = panels
            picture = localization_picture(
                image_HW3, one.map_hw, one.predicted_N4, truth_N4, seen.caption, self.colour_map, one.limit, one.unit
            )
        else:
            picture, places = panels_picture(image_HW3, truth_N4, panels, seen.caption, self.colour_map)
            told.add_text(PANELS, json_text(places))
        if seen.shown_C is not None:
            told.add_text(SHOWN, json_text([self.source.ids[seen.position], seen.shown_C]))
        path = self.folder / f"{seen.position:06d}_{_file_name(self.source.ids[seen.position])}.png"
        Image.fromarray(picture).save(path, compress_level=PNG_LEVEL, pnginfo=told)

    def _map(self, arm: str, found: Localization, truth: GroundTruth, row: int, iou: float) -> _Map:
        said = [self._verdict(iou)] if int(truth.num_boxes_B[row]) else []
        said += ["names no region"] if found.proposals.degenerate_BP[row, 0] else []
        map_hw, box_14 = found.map_BThw[row, 0].tolist(), found.proposals.boxes_BP4[row, :1].tolist()
        return _Map(arm, map_hw, box_14, found.unit, ", ".join(said))

    def _verdict(self, iou: float) -> str:
        return f"IoU {written_overlap(iou)} ({'hit' if iou >= self.iou_threshold else 'miss'})"

    def _caption(self, localization: Localization, truth: GroundTruth, row: int, iou: float | None) -> Caption:
        """`iou` is None where it is not of one box alone."""
        predicted, label = int(localization.classes_BT[row, 0]), int(truth.label_B[row])
        probability = float(localization.probability_BT[row, 0])
        headline = f"{self.class_names[predicted]}  {probability:.0%}"
        detail = class_verdict(predicted, label, self.class_names[label], _shown(truth, row))
        if iou is not None and int(truth.num_boxes_B[row]):
            detail = f"{self._verdict(iou)}, {detail}"
        return Caption(headline, detail)


def _read(fields: list[Any]) -> _Seen:
    """As `_draw` wants it, from a line of a part."""
    position, maps, truth_N4, caption, shown_C = fields
    return _Seen(position, [_Map(*each) for each in maps], truth_N4, Caption(*caption), shown_C)


def _shown(truth: GroundTruth, row: int) -> list[int] | None:
    return None if truth.classes_BC is None else truth.classes_BC[row].tolist()


def _name_of_map(target: str) -> str:
    """What a panel of the run's own map is called: as its configuration is, or of a user's package as its class is."""
    module, _, name = target.rpartition(".")
    return module.rpartition(".")[2] if module.startswith("cam_lightning.cam.") else name or "this run"


def _boxes(box_N4: list[list[float]]) -> np.ndarray:
    return np.array(box_N4, np.float32).reshape(-1, 4)


def _cells(map_hw: list[list[float]]) -> np.ndarray:
    """A map, float32; null, which stands in JSON for what is no finite number, is NaN."""
    return np.array(map_hw, np.float32)


def _file_name(image_id: str) -> str:
    """An id as part of a file's name: its last component, with everything unusual replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(image_id).stem)[:60]
