"""A small world in which every number is exact: 20 tiny images, and a network of whole numbers.

Pixels are whole numbers, the network's weights are too, and it averages over 64 cells; so float32 holds every
sum exactly, whatever the order or the size of a batch, and a plain loop can ask for equality.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import nn
from toy_network import ToyGap

from cam_lightning.contracts import Normalization
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage
from cam_lightning.method.classification import Classification
from cam_lightning.method.schedule import constant

NUM_CLASSES = 7


class ToySplit(ImageSplit):
    """Noise with a bright patch; wider than high and higher than wide; 0 to 3 boxes; awkward ids."""

    def __init__(self, name: str, seed: int, count: int) -> None:
        random = np.random.default_rng(seed)
        self.ids = [f"{name} folder/image {i}, it's=\u2028{i}.jpg" for i in range(count)]
        self.label_N = np.arange(count) % NUM_CLASSES
        self.images = []
        for i in range(count):
            height, width = [(24, 40), (50, 21), (33, 33)][i % 3]
            image = random.integers(0, 120, (height, width, 3), dtype=np.uint8)
            x0, y0 = int(random.integers(0, width // 2)), int(random.integers(0, height // 2))
            image[y0 : y0 + height // 2, x0 : x0 + width // 2] += 130
            patch = [x0, y0, x0 + width // 2, y0 + height // 2]
            if i % 5 == 4:  # a box that the centre box meets and the whole image does not
                patch = [width // 6, height // 6, width - width // 6, height - height // 6]
            boxes = [patch, [0, 0, 3, 2], [1, 1, width, height]]
            boxes_N4 = np.array(boxes, np.float32)[: [1, 2, 0, 3, 1][i % 5]]
            self.images.append(RawImage(image, boxes_N4))

    def read(self, index: int) -> RawImage:
        return self.images[index]


class ToyData(LocalizationDataModule):
    """Trains on 28 images less those held out, tests on 20."""

    def __init__(self, **options: Any) -> None:
        super().__init__(image_size=(16, 64), num_workers=0, val_fraction=0.25, **options)

    def read_splits(self) -> tuple[list[str], ImageSplit, ImageSplit]:
        names = [f"class {c}, \u0085" for c in range(NUM_CLASSES)]
        return names, ToySplit("train", 0, 28), ToySplit("test", 1, 20)

    def display_name(self, class_name: str) -> str:
        return class_name.upper()


class ToyNetwork(ToyGap):
    """Nine units on 4×16 cells, average pooling, a linear layer."""

    normalization = Normalization((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 9, 4, stride=4), nn.ReLU(), nn.Dropout(0.5)), 9, NUM_CLASSES)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randint(-2, 3, parameter.shape, generator=generator))


@pytest.fixture
def data() -> ToyData:
    return ToyData(batch_size=6)


@pytest.fixture
def method() -> Classification:
    return Classification(
        ToyNetwork(),
        optimizer=torch.optim.SGD,
        schedule=constant,
        learning_rate=1e-6,
    )


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    """Makes a Trainer on one CPU process that is quiet."""

    def make(*callbacks: Any, **options: Any) -> Trainer:
        return Trainer(
            accelerator="cpu",
            devices=1,
            callbacks=list(callbacks),
            logger=False,
            default_root_dir=tmp_path,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **options,
        )

    return make


def _overlap(a: list[float], b: list[float]) -> float:
    """Of half-open boxes, by the definition."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.fixture
def overlap() -> Any:
    return _overlap
