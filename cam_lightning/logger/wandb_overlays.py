"""A fixed sample of every evaluation as Weights & Biases shows it: boxes to switch on and off, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cam_lightning.contracts import GroundTruth, ImageSource, Localization, Reads
from cam_lightning.functional.box import as_fractions
from cam_lightning.functional.map_colours import CHOICES
from cam_lightning.functional.overlap import best_overlap, written_overlap
from cam_lightning.functional.overlay import Caption, class_verdict, localization_picture
from cam_lightning.run.file import json_text

MOST_IMAGES = 32
"""That one step may hold; every image of the sample is two of them."""


class WandbOverlays:
    """A sink that keeps `count` images, the same in every epoch, until the logger takes them.

    After a validation they are `val/boxes`, images with boxes drawn by W&B, and `val/overlays`, maps with
    boxes burnt in; after the test a table, `test/sample`, which holds both. Each rank writes the images that
    it saw to a part; rank zero draws them all.
    """

    def __init__(
        self, run_dir: str, count: int = 12, seed: int = 0, colour_map: str = "inferno", iou_threshold: float = 0.5
    ) -> None:
        if 2 * count > MOST_IMAGES:
            raise ValueError(f"logger.wandb.num_overlays is at most {MOST_IMAGES // 2}; got {count}")
        if colour_map not in CHOICES:
            raise ValueError(f"logger.wandb.colour_map is one of {', '.join(CHOICES)}; got {colour_map!r}")
        self.root = Path(run_dir)
        self.count = count
        self.reads: Reads = "best" if count else "label"
        self.seed = seed
        self.colour_map = colour_map
        self.iou_threshold = iou_threshold
        self._media: dict[str, Any] = {}

    def start(self, split: str, source: ImageSource, class_names: Sequence[str], rank: int, world_size: int) -> None:
        self.split, self.source, self.class_names = split, source, class_names
        random = np.random.Generator(np.random.Philox(self.seed))
        self.sample = set(random.permutation(len(source))[: self.count].tolist())
        self.parts = [self.root / f".wandb_{split}_{part}.jsonl" for part in range(world_size)]
        self.file = self.parts[rank].open("w", encoding="utf-8")

    def add(self, localization: Localization, truth: GroundTruth, further: Mapping[str, Localization]) -> None:
        rows = [row for row, index in enumerate(localization.index_B.tolist()) if index in self.sample]
        if not rows:
            return
        iou_B = best_overlap(localization.proposals.boxes_BP4[:, :1], truth.boxes_BN4, truth.num_boxes_B)[:, 0]
        for row in rows:
            num_boxes = int(truth.num_boxes_B[row])
            seen = {
                "index": int(localization.index_B[row]),
                "label": int(truth.label_B[row]),
                "predicted": int(localization.classes_BT[row, 0]),
                "probability": float(localization.probability_BT[row, 0]),
                "iou": float(iou_B[row]) if num_boxes else None,
                "box": localization.proposals.boxes_BP4[row, 0].tolist(),
                "truth": truth.boxes_BN4[row, :num_boxes].tolist(),
                "shown": None if truth.classes_BC is None else truth.classes_BC[row].tolist(),
                "map": localization.map_BThw[row, 0].tolist(),
            }
            self.file.write(json_text(seen) + "\n")

    def finish(self) -> None:
        self.file.close()

    def merge(self) -> None:
        """Draws what all ranks saw, in the dataset's order, and removes their parts."""
        seen: list[dict[str, Any]] = []
        for part in self.parts:
            with part.open(encoding="utf-8") as file:
                seen += [json.loads(line) for line in file]
            part.unlink()
        seen.sort(key=lambda one: one["index"])
        originals = [self.source.original(one["index"]) for one in seen]
        boxes = [self._with_boxes(*pair) for pair in zip(seen, _same_size(originals), strict=True)]
        overlays = [self._overlay(*pair) for pair in zip(seen, originals, strict=True)]
        pictures = [self._image(*pair, "png") for pair in zip(seen, _same_size(overlays), strict=True)]
        if self.split == "test":
            self._media = {"test/sample": self._table(seen, boxes, pictures)}
        else:
            self._media = {f"{self.split}/boxes": boxes, f"{self.split}/overlays": pictures}

    def take(self) -> dict[str, Any]:
        """The pictures of the evaluation that just ended, by key; once."""
        media, self._media = self._media, {}
        return media

    def _image(self, one: dict[str, Any], image_HW3: np.ndarray, file_type: str, **options: Any) -> Any:
        import wandb

        return wandb.Image(image_HW3, caption=self.source.ids[one["index"]], file_type=file_type, **options)

    def _with_boxes(self, one: dict[str, Any], image_HW3: np.ndarray) -> Any:
        scores = {"probability": one["probability"]} | ({} if one["iou"] is None else {"IoU": one["iou"]})
        labels = dict(enumerate(self.class_names))
        predicted = self._box_data([one["box"]], one["predicted"], image_HW3, scores)
        truth = self._box_data(one["truth"], one["label"], image_HW3, {})
        boxes = {
            "predicted": {"box_data": predicted, "class_labels": labels},
            "ground_truth": {"box_data": truth, "class_labels": labels},
        }
        # The same image comes with every epoch, so its size counts.
        return self._image(one, image_HW3, "jpg", boxes=boxes)

    def _box_data(
        self, boxes: list[list[float]], label: int, image_HW3: np.ndarray, scores: dict[str, float]
    ) -> list[dict[str, Any]]:
        """Boxes in W&B's format, whose positions are fractions unless they say otherwise."""
        height, width = image_HW3.shape[:2]
        fractions_N4 = as_fractions(torch.tensor(boxes).reshape(-1, 4), height, width)
        corners = ("minX", "minY", "maxX", "maxY")
        return [
            {
                "position": dict(zip(corners, fraction_4, strict=True)),
                "class_id": label,
                "box_caption": self.class_names[label],
                "scores": scores,
            }
            for fraction_4 in fractions_N4.tolist()
        ]

    def _overlay(self, one: dict[str, Any], image_HW3: np.ndarray) -> np.ndarray:
        detail = class_verdict(one["predicted"], one["label"], self.class_names[one["label"]], one["shown"])
        if one["iou"] is not None:
            detail = f"IoU {written_overlap(one['iou'])}, {detail}"
        return localization_picture(
            image_HW3,
            np.array(one["map"], np.float32),
            np.array([one["box"]], np.float32),
            np.array(one["truth"], np.float32).reshape(-1, 4),
            Caption(f"{self.class_names[one['predicted']]}  {one['probability']:.0%}", detail),
            self.colour_map,
        )

    def _table(self, seen: list[dict[str, Any]], boxes: list[Any], pictures: list[Any]) -> Any:
        import wandb

        table = wandb.Table(columns=["id", "label", "predicted", "probability", "IoU", "hit", "boxes", "overlay"])
        for one, with_boxes, picture in zip(seen, boxes, pictures, strict=True):
            names = (self.class_names[one[key]] for key in ("label", "predicted"))
            hit = None if one["iou"] is None else one["iou"] >= self.iou_threshold
            name = self.source.ids[one["index"]]
            table.add_data(name, *names, one["probability"], one["iou"], hit, with_boxes, picture)
        return table


def _same_size(images: list[np.ndarray]) -> list[np.ndarray]:
    """Images on canvases of one size, each in the top left corner: W&B shows a list by its first image's shape."""
    if not images:
        return []
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    return [
        np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), constant_values=128)
        for image in images
    ]
