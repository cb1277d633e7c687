"""Which objects tell a scene's category: those that fill the part of the image that speaks for it (section 4.2)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from cam_lightning.contracts import ImageSource, NoClassMapError
from cam_lightning.dataset.format.objects import objects_of
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.functional.network_input import full_float32, normalised
from cam_lightning.functional.post_processing import PostProcessing, score_map
from cam_lightning.run.progress import bar

RULE = PostProcessing(rectify=True, normalise="max")


class ObjectShare(NamedTuple):
    """One object name in the scenes of one category; shares are means over all of the category's images."""

    name: str
    region_share: float
    """Of the high-activation region that it fills."""
    image_share: float
    """Of the image that it fills."""
    num_images: int
    """How many of the category's images have it."""

    @property
    def ratio(self) -> float:
        """How much more it fills of the region than of the image; 1 where the map does not care."""
        return self.region_share / self.image_share if self.image_share else math.nan


class CategoryObjects(NamedTuple):
    """One category."""

    name: str
    objects: list[ObjectShare]
    """All of them; those that fill most of the region first."""
    num_images: int
    """How many were counted."""
    num_without_map: int
    """Left out: the category's map is nowhere positive, so there is no region."""
    shown: list[tuple[int, np.ndarray]]
    """Positions of the images with the highest scores of the category, with its raw map (h, w)."""


class FoundObjects(NamedTuple):
    """All that a page of objects shows."""

    split: str
    categories: list[CategoryObjects]
    source: ImageSource
    threshold: float


class CategoryCounter:
    """Adds up the shares of one category, image by image."""

    def __init__(self) -> None:
        self.region: dict[str, float] = {}
        self.image: dict[str, float] = {}
        self.num_with: dict[str, int] = {}
        self.num_images = 0
        self.num_without_map = 0

    def add(self, objects: dict[str, np.ndarray], is_high_HW: np.ndarray) -> None:
        """One image: name → bool (H, W), and where its category's map is high."""
        size = int(is_high_HW.sum())
        if size == 0:
            self.num_without_map += 1
            return
        self.num_images += 1
        for name, mask_HW in objects.items():
            self.region[name] = self.region.get(name, 0.0) + int((mask_HW & is_high_HW).sum()) / size
            self.image[name] = self.image.get(name, 0.0) + float(mask_HW.mean())
            self.num_with[name] = self.num_with.get(name, 0) + 1

    def shares(self) -> list[ObjectShare]:
        """Those that fill most of the region first, of equal ones those that fill less of the image, then by name."""
        found = [
            ObjectShare(name, self.region[name] / self.num_images, self.image[name] / self.num_images, count)
            for name, count in self.num_with.items()
        ]
        return sorted(found, key=lambda each: (-each.region_share, each.image_share, each.name))


def _require_objects(images: Any, may_skip: bool) -> None:
    """Raises as `objects_of`: the first image that can be read tells what no other need be read for."""
    for index in range(len(images)):
        try:
            size = images.original(index).shape[:2]
        except OSError:
            if not may_skip:
                raise
            continue
        objects_of(images.split, index, size)
        return


@torch.inference_mode()
def informative_objects(
    network: Any,
    data: LocalizationDataModule,
    split: str = "test",
    threshold: float = 0.5,
    num_shown: int = 4,
) -> FoundObjects:
    """Looks through every image of a split, as evaluation sees it, by a network in eval mode.

    The region is where the class activation map of the image's own category, upsampled to the image, is above
    `threshold` times its maximum. Raises ValueError for options that cannot be, a network without class activation
    maps, and data that do not say where objects are; OSError for a file that cannot be read.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is a share of the map's maximum, in [0, 1); got {threshold}")
    if num_shown < 0:
        raise ValueError(f"num_images is at least 0; got {num_shown}")
    if split not in data.examples:
        raise ValueError(f"split={split}: these data have {', '.join(data.examples)}")
    images = data.examples[split]
    counters = [CategoryCounter() for _ in data.class_names]
    best: list[list[tuple[float, int, np.ndarray]]] = [[] for _ in data.class_names]
    device = next(network.parameters()).device
    _require_objects(images, data.on_bad_image == "skip")
    batches = data.batches_of(images.split)
    with full_float32(device.type):
        for batch in bar(batches, f"{split}: looking at objects", len(batches)):
            if not len(batch.index_B):
                continue
            output = network(normalised(batch.image_B3HW.to(device), *network.normalization))
            label_B1 = batch.truth.label_B[:, None].to(device)
            map_B1hw = network.class_maps(output, label_B1)
            if map_B1hw is None:
                raise NoClassMapError(
                    f"{type(network).__name__} has no class activation map: choose a …_gap backbone, or a probe of one"
                )
            score_B = output.logits_BC.gather(1, label_B1)[:, 0].tolist()
            for index, label, size, map_hw, score in zip(
                batch.index_B.tolist(),
                batch.truth.label_B.tolist(),
                batch.truth.size_B2.tolist(),
                map_B1hw[:, 0].cpu(),
                score_B,
                strict=True,
            ):
                height, width = size
                is_high_HW = score_map(map_hw, (height, width), RULE) > threshold
                counters[label].add(objects_of(images.split, index, (height, width)), is_high_HW)
                if is_high_HW.any():
                    best[label].append((-score, index, map_hw.numpy()))
                    best[label] = sorted(best[label], key=lambda each: each[:2])[:num_shown]
    categories = [
        CategoryObjects(
            data.display_name(name),
            counter.shares(),
            counter.num_images,
            counter.num_without_map,
            [(index, map_hw) for _, index, map_hw in shown],
        )
        for name, counter, shown in zip(data.class_names, counters, best, strict=True)
    ]
    return FoundObjects(split, categories, images, threshold)
