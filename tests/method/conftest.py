"""A toy network, a handful of random images, and a quiet Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn
from toy_network import ToyGap

from cam_lightning.contracts import ClassifierOutput, Normalization
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage

NUM_CLASSES = 6


class ToySplit(ImageSplit):
    """Noise, 12 high and 20 wide."""

    def __init__(self, name: str, seed: int, count: int) -> None:
        random = np.random.default_rng(seed)
        self.ids = [f"{name}/{i}" for i in range(count)]
        self.label_N = np.arange(count) % NUM_CLASSES
        self.images = random.integers(0, 256, (count, 12, 20, 3), dtype=np.uint8)

    def read(self, index: int) -> RawImage:
        return RawImage(self.images[index], np.zeros((0, 4), np.float32))


class ToyData(LocalizationDataModule):
    """24 images to train on, 12 held out, 17 to test on: the last of the batches of 5 and of 8 is short."""

    def __init__(self, **options: Any) -> None:
        super().__init__(image_size=(12, 20), num_workers=0, val_fraction=1 / 3, **options)

    def read_splits(self) -> tuple[list[str], ImageSplit, ImageSplit]:
        return [f"c{i}" for i in range(NUM_CLASSES)], ToySplit("train", 0, 36), ToySplit("test", 1, 17)


class ToyNetwork(ToyGap):
    """A convolution, average pooling, a linear layer; it remembers what its convolution computed in."""

    normalization = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    new_layers: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3, stride=2), 4, NUM_CLASSES)
        self.computed_in: dict[str, set[torch.dtype]] = {"training": set(), "evaluation": set()}
        self.seeds: list[int] = []
        self.poison: int | None = None
        """From which training forward on the logits are not numbers."""

    def forward_head(self, features_BKhw: Tensor) -> ClassifierOutput:
        self.computed_in["training" if self.training else "evaluation"].add(features_BKhw.dtype)
        logits_BC, features_BKhw, _ = super().forward_head(features_BKhw)
        if self.training:
            self.seeds.append(torch.initial_seed())
            if self.poison is not None and len(self.seeds) > self.poison:
                logits_BC = logits_BC * float("nan")
        return ClassifierOutput(logits_BC, features_BKhw)


@pytest.fixture
def data() -> ToyData:
    return ToyData(batch_size=5)


@pytest.fixture
def network() -> ToyNetwork:
    torch.manual_seed(0)
    return ToyNetwork()


@pytest.fixture
def images() -> Tensor:
    """What networks that a method has changed are shown: three, wider than high."""
    return torch.randn(3, 3, 64, 112, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    """Makes a Trainer on one CPU process that is quiet."""

    def make(**options: Any) -> Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "num_sanity_val_steps": 0}
        return Trainer(
            accelerator="cpu",
            devices=1,
            default_root_dir=tmp_path,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **(quiet | options),
        )

    return make
