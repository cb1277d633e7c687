"""The work of `evaluate_maps`: every metric of the WSOL benchmark over a folder of maps, on all cores."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from cam_lightning.contracts import Results
from cam_lightning.dataset.format.map_folder import PROBLEMS, RAW_FILE, read_mask, read_score_map
from cam_lightning.dataset.format.wsol_metadata import read_metadata
from cam_lightning.functional.max_box_accuracy import MODES, quantise
from cam_lightning.functional.post_processing import map_height_and_width
from cam_lightning.metric.max_box_accuracy import CORNERS, MaxBoxAccuracy, MaxBoxAccuracyV2
from cam_lightning.metric.pixel_average_precision import PixelAveragePrecision

IMAGES_PER_TASK = 64


class Counts(NamedTuple):
    """Of some images: what each metric counts, and (image id, one of `PROBLEMS`) of their maps."""

    num_images: int
    hits: dict[str, np.ndarray]
    pixels: np.ndarray
    problems: list[tuple[str, str]]


class MapScorer:
    """MaxBoxAcc and V2 in both modes where the metadata have boxes, PxAP where they have masks.

    `mode` has the plain keys, the other mode its name before them. Every image of the metadata counts; what is wrong
    with its map is told by name, see `map_folder.PROBLEMS`. Maps beside a `raw.json` are raw, and are normalised.
    `corners` says of `localization.txt` whether x1, y1 are inside the box (`inclusive`) or its end (`half_open`); the
    mode `wsol` takes them as they are, as the benchmark.

    Raises OSError or ValueError where folders or options are not as expected.
    """

    def __init__(
        self,
        maps: Path,
        metadata: Path,
        masks: Path | None = None,
        mode: str = "wsol",
        map_size: Sequence[int] = (224, 224),
        interval: float = 0.001,
        iou_thresholds: Sequence[float] = (0.3, 0.5, 0.7),
        corners: str = "inclusive",
    ) -> None:
        for option, value, choices in (("mode", mode, MODES), ("corners", corners, CORNERS)):
            if value not in choices:
                raise ValueError(f"{option} is one of {', '.join(choices)}; got {value!r}")
        self.maps, self.masks, self.map_size = maps, masks, map_height_and_width("map_size", map_size)
        self.raw = (maps / RAW_FILE).is_file()
        self.truth = read_metadata(metadata, labels=False)
        self._check(metadata)
        self.box_end_4 = np.array([0, 0, 1, 1] if corners == "inclusive" else [0, 0, 0, 0])
        self.pixels = PixelAveragePrecision(interval)
        self.boxed: dict[str, MaxBoxAccuracy | MaxBoxAccuracyV2] = {}
        for each in sorted(MODES, key=lambda name: name != mode) if len(self.truth.corners_M4) else ():
            prefix = "" if each == mode else f"{each}/"
            options: dict[str, Any] = {"mode": each, "interval": interval, "corners": corners}
            further = [threshold for threshold in iou_thresholds if threshold != 0.5]
            self.boxed[f"{prefix}max_box_accuracy"] = MaxBoxAccuracy(0.5, further, **options)
            self.boxed[f"{prefix}max_box_accuracy_v2"] = MaxBoxAccuracyV2(iou_thresholds, **options)
        self.problems: list[tuple[str, str]] = []
        self.protocol = {
            "rule": "WSOL benchmark (Choe et al. 2020)",
            "mode": mode,
            "map_size": f"{self.map_size[0]} x {self.map_size[1]}",
            "interval": interval,
            "corners": corners,
            "values": "raw, upsampled and normalised from minimum to maximum" if self.raw else "scores",
            "maps": str(maps),
            "metadata": str(metadata),
            "masks": str(masks or "none"),
        }

    def score(self, images: range) -> Counts:
        """Reads and sweeps some images' maps; changes nothing, so many threads may do it at once."""
        hits = {key: np.zeros(tuple(metric.hits.shape), np.int64) for key, metric in self.boxed.items()}
        pixels = np.zeros(tuple(self.pixels.pixels.shape), np.int64)
        problems = []
        for image in images:
            name = self.truth.ids[image]
            score_HW, found = read_score_map(Path(f"{self.maps}/{name}.npy"), self.map_size, self.raw)
            problems += [(name, problem) for problem in found]
            if self.masks is not None:
                mask_HW = read_mask(self.truth, self.masks, image, self.map_size)
                pixels += self.pixels.pixels_of(np.zeros(self.map_size) if score_HW is None else score_HW, mask_HW)
            if self.boxed and self.truth.size_N2 is not None and score_HW is not None:
                level_HW = quantise(score_HW)
                first, end = self.truth.first_row_N1[image : image + 2].tolist()
                boxes_N4 = (self.truth.corners_M4[first:end] + self.box_end_4).astype(np.float64)
                height, width = self.truth.size_N2[image].tolist()
                for key, metric in self.boxed.items():
                    hits[key] += metric.hits_of(level_HW, boxes_N4, (height, width))
        return Counts(len(images), hits, pixels, problems)

    def add(self, counts: Counts) -> None:
        """Adds what `score` counted."""
        self.problems += counts.problems
        for key, metric in self.boxed.items():
            metric.add("hits", torch.from_numpy(counts.hits[key]))
            metric.add("num_images", counts.num_images)
        if self.masks is not None:
            self.pixels.add("pixels", torch.from_numpy(counts.pixels))
            self.pixels.add("num_images", counts.num_images)

    def results(self) -> Results:
        """Flat keys, as fractions; how many maps had which problem; and the protocol."""
        results: Results = {}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The ``compute`` method")  # counted by `add`, not by `update`
            for key, metric in self.boxed.items():
                prefix = key.removesuffix(key.rpartition("/")[2])
                results |= {prefix + name: value for name, value in metric.compute().items()}
            results |= self.pixels.compute() | {"num_images": len(self.truth.ids)}
        for problem in PROBLEMS:
            results[f"num_maps_{problem}"] = sum(found == problem for _, found in self.problems)
        return results | {f"protocol/{key}": value for key, value in self.protocol.items()}

    def hits(self) -> dict[str, Any]:
        """How many images are hit at each `threshold`, by metric and IoU."""
        hits: dict[str, Any] = {"threshold": self.pixels.thresholds_Q.tolist(), "num_images": len(self.truth.ids)}
        for key, metric in self.boxed.items():
            for iou, hits_Q in zip(metric.iou_thresholds, metric.hits.tolist(), strict=True):
                hits[f"{key}/iou_{iou:g}"] = hits_Q
        return hits

    def _check(self, metadata: Path) -> None:
        truth, file = self.truth, metadata / "localization.txt"
        if len(truth.masks_M) and self.masks is None:
            raise ValueError(f"{file} names masks: give the folder they lie in with masks=FOLDER")
        if self.masks is not None and not len(truth.masks_M):
            raise ValueError(f"masks={self.masks} is given, but {file} names no masks")
        unknown = np.flatnonzero(np.diff(truth.first_row_N1) == 0).tolist()
        if unknown:
            raise ValueError(
                f"{file} has neither box nor mask of {len(unknown):,} of {len(truth.ids):,} images: "
                f"{', '.join(truth.ids[image] for image in unknown[:5])}"
            )
        if len(truth.corners_M4) and truth.size_N2 is None:
            raise ValueError(f"{metadata / 'image_sizes.txt'} is empty or missing, and boxes are in the images' pixels")
        if not any(Path(f"{self.maps}/{name}.npy").exists() for name in truth.ids):
            raise ValueError(f"maps={self.maps} holds none of {len(truth.ids):,} maps, such as {truth.ids[0]}.npy")


def score_all(scorer: MapScorer, threads: int | None, advance: Callable[[int], None]) -> None:
    """Scores every image on `threads` threads (None: one per core), and says how many more are done.

    Only a few images are under way at any time, so memory does not grow with their number. The sweeps release the
    interpreter's lock; each thread has a map of its own, since those of torch and OpenCV within a map would only
    fight with the others.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threads = threads or len(os.sched_getaffinity(0))
    num_images = len(scorer.truth.ids)
    tasks = [range(i, min(i + IMAGES_PER_TASK, num_images)) for i in range(0, num_images, IMAGES_PER_TASK)]
    with ThreadPoolExecutor(threads, thread_name_prefix="score") as executor:
        for counts in _in_order(executor, scorer.score, tasks, ahead=2 * threads):
            scorer.add(counts)
            advance(counts.num_images)


def _in_order(
    executor: ThreadPoolExecutor, score: Callable[[range], Counts], tasks: list[range], ahead: int
) -> Iterator[Counts]:
    waiting: deque[Future[Counts]] = deque()
    for task in tasks:
        waiting.append(executor.submit(score, task))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
