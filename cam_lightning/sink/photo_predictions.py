"""Any number of photos at flat memory: read a few ahead, localized in batches, drawn and written as they come."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.dataset.pipeline.image_file import read_photo
from cam_lightning.functional.box import rescale
from cam_lightning.functional.map_colours import CHOICES
from cam_lightning.functional.overlay import PNG_LEVEL, Caption, at_picture_size, localization_picture
from cam_lightning.localization.photos import LocalizedImage, localized
from cam_lightning.localization.side_threads import side_threads
from cam_lightning.run.log import terminal
from cam_lightning.sink.predictions_json import PredictionsJson

log = logging.getLogger(__name__)

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def predict_photos(
    network: TrunkNetwork,
    paths: list[Path],
    run_dir: Path,
    protocol: dict[str, Any],
    batch_size: int = 16,
    colour_map: str | None = "inferno",
) -> None:
    """Writes `predictions.json`, and `overlays/` unless `colour_map` is None, of the files that can be read.

    The others are named in the log and in `unreadable`. Raises OSError where none can be read, and ValueError for
    an unknown colour map.
    """
    if colour_map is not None:
        if colour_map not in CHOICES:
            raise ValueError(f"colour_map is one of {', '.join(CHOICES)}; got {colour_map!r}")
        (run_dir / "overlays").mkdir()
    assert network.recipe is not None
    photos = _Photos(paths, shown=colour_map is not None)
    num_degenerate = 0
    columns = TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        PredictionsJson(run_dir, protocol) as predictions,
        Progress(*columns, console=terminal(), transient=True) as progress,
    ):
        bar = progress.add_task("photos", total=len(paths))
        results = localized(network, photos.pixels(), network.recipe, batch_size, photos.name)
        seen = ((photos.next(), found, run_dir, colour_map) for found in results)
        for row in _ahead(_drawn, seen):
            predictions.add(row)
            num_degenerate += row["whole_image"][0]
            progress.update(bar, completed=predictions.num_images + len(photos.unreadable))
        for path, reason in photos.unreadable:
            predictions.add_unreadable(str(path), reason)
        if not predictions.num_images:
            raise OSError(f"none of the {len(paths):,} files can be read as an image: {photos.unreadable[0][1]}")
    log.info("%s photos localized", f"{predictions.num_images:,}")
    if num_degenerate:
        log.info("%s of them have a map that names no region: their box is the whole photo", f"{num_degenerate:,}")
    if photos.unreadable:
        counts = f"{len(photos.unreadable):,} of {len(paths):,}"
        log.warning("%s files could not be read; predictions.json lists them as `unreadable`", counts)
    if colour_map is not None:
        print(f"{'overlays':<12} {run_dir / 'overlays'}")
    print(f"{'predictions':<12} {predictions.path}")


class _Photo(NamedTuple):
    """A photo that was read, without its full pixels."""

    number: int
    """Its place among all files."""
    path: Path
    small_HW3: np.ndarray | None
    """At the size of a picture; None where no picture is wanted."""


class _Photos:
    """Reads files in their order; those that cannot be read are logged, remembered and left out."""

    def __init__(self, paths: list[Path], shown: bool) -> None:
        self.paths = paths
        self.shown = shown
        self.unreadable: list[tuple[Path, str]] = []
        self._waiting: deque[_Photo] = deque()
        self._readable: list[Path] = []

    def pixels(self) -> Iterator[np.ndarray]:
        """uint8 RGB (H, W, 3) of every photo that can be read; `next` tells which they are."""
        for number, (path, pixels_HW3) in enumerate(zip(self.paths, _ahead(_read, self.paths), strict=True)):
            if isinstance(pixels_HW3, OSError):
                log.warning("left out: %s", pixels_HW3)
                self.unreadable.append((path, str(pixels_HW3)))
                continue
            self._readable.append(path)
            self._waiting.append(_Photo(number, path, at_picture_size(pixels_HW3) if self.shown else None))
            yield pixels_HW3

    def next(self) -> _Photo:
        """The photos that `pixels` gave, one by one."""
        return self._waiting.popleft()

    def name(self, position: int) -> str:
        """The path of a photo by its position among those that `pixels` gave."""
        return str(self._readable[position])


def _read(path: Path) -> np.ndarray | OSError:
    try:
        return read_photo(path)
    except OSError as error:
        return error


def _drawn(job: tuple[_Photo, LocalizedImage, Path, str | None]) -> dict[str, Any]:
    """The photo's entry of `predictions.json`, after its overlay is written."""
    photo, found, run_dir, colour_map = job
    overlay = None
    if photo.small_HW3 is not None and colour_map is not None:
        # What may name a file may name another, but not at any length.
        overlay = f"overlays/{photo.number:06d}_{photo.path.stem[:60]}.png"
        picture_HW3 = _side_by_side(photo.small_HW3, found, colour_map)
        Image.fromarray(picture_HW3).save(run_dir / overlay, compress_level=PNG_LEVEL)
    height, width = found.size
    row = {
        "path": str(photo.path),
        "width": width,
        "height": height,
        "classes": found.classes_T.tolist(),
        "names": found.names,
        "probabilities": [round(probability, 6) for probability in found.probability_T.tolist()],
        **_boxes(found),
        "overlay": overlay,
    }
    # With one map alone the file is as it always was.
    return row | ({"further": {arm: _boxes(each) for arm, each in found.further.items()}} if found.further else {})


def _boxes(found: LocalizedImage) -> dict[str, Any]:
    return {
        "boxes": [[round(edge, 2) for edge in box] for box in found.boxes_P4.tolist()],
        "ranks": list(found.rank_P),
        "whole_image": found.degenerate_P.tolist(),
    }


def _side_by_side(small_HW3: np.ndarray, found: LocalizedImage, colour_map: str) -> np.ndarray:
    """The picture of the run's own map, and below it those of further ones, each with its name."""
    own = _picture(small_HW3, found, colour_map)
    further = [_picture(small_HW3, each, colour_map, arm) for arm, each in found.further.items()]
    return np.concatenate([own, *further])


def _picture(small_HW3: np.ndarray, found: LocalizedImage, colour_map: str, arm: str = "") -> np.ndarray:
    """The best class's map and box on the photo, its name and probability, and the next two classes of any chance."""
    small_size_12 = torch.tensor([small_HW3.shape[:2]])
    boxes_114 = rescale(found.boxes_P4[None, :1], torch.tensor([found.size]), small_size_12)
    shares = [f"{share:.0%}" for share in found.probability_T.tolist()]
    others = [f"{name}  {share}" for name, share in zip(found.names[1:3], shares[1:3], strict=True) if share != "0%"]
    detail = "the map names no region" if found.degenerate_P[0] else ", ".join(others)
    caption = Caption(arm or f"{found.names[0]}  {shares[0]}", detail)
    nothing_04 = np.zeros((0, 4), np.float32)
    return localization_picture(
        small_HW3, found.map_Thw[0].numpy(), boxes_114[0].numpy(), nothing_04, caption, colour_map
    )


def _ahead(function: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """`map` in threads that run only a few items ahead of the reader, so that memory stays flat."""
    most = min(8, len(os.sched_getaffinity(0)))
    with side_threads(most, "photos") as pool:
        running: deque[Future[_Out]] = deque()
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > most:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
