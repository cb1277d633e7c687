"""Scenes drawn on the fly, with exact boxes: the embedded dataset that needs no download."""

from __future__ import annotations

from typing import Any

import numpy as np

from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.option import seed, whole
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage, Splits
from cam_lightning.dataset.scene.scene import CLASS_NAMES, draw_scene, scene_label


class Shapes(LocalizationDataModule):
    """Textured objects of ten categories in clutter; every pixel follows from `scene_seed` and an index.

    Training scenes have indices below `num_train`; test scenes are drawn from a stream of their own, so
    their pixels do not depend on the number of training scenes.
    """

    def __init__(self, num_train: int = 10_000, num_test: int = 1_000, scene_seed: int = 0, **common: Any) -> None:
        super().__init__(**common)
        self.num_train = whole("dataset.num_train", num_train, 1)
        self.num_test = whole("dataset.num_test", num_test, 1)
        self.scene_seed = seed("dataset.scene_seed", scene_seed)

    def read_splits(self) -> Splits:
        train = SceneSplit("train", 2 * self.scene_seed, self.num_train)
        test = SceneSplit("test", 2 * self.scene_seed + 1, self.num_test)
        return Splits(list(CLASS_NAMES), train, test)


class SceneSplit(ImageSplit):
    """Scenes 0, 1, … of one stream."""

    def __init__(self, name: str, stream: int, count: int) -> None:
        self.stream = stream
        self.ids = [f"{name}/{index:06d}" for index in range(count)]
        self.label_N = np.array([scene_label(stream, index) for index in range(count)], dtype=np.int64)

    def read(self, index: int) -> RawImage:
        scene = draw_scene(self.stream, index)
        return RawImage(scene.image_HW3, scene.boxes_N4, np.asarray(scene.masks_NHW.any(0), np.uint8))
