"""The paper's augmentation: a crop of fixed size anywhere in the squashed image, mirrored half of the time."""

from __future__ import annotations

import numpy as np

from cam_lightning.dataset.pipeline.option import whole
from cam_lightning.dataset.pipeline.transform import LONGEST_SIDE, View


class RandomCrop:
    """The paper's: squash to `resize`², crop `crop`² anywhere, mirror half of the images."""

    def __init__(self, resize: int = 256, crop: int = 224) -> None:
        whole("dataset.augmentation.resize", resize, 1, LONGEST_SIDE)
        whole("dataset.augmentation.crop", crop, 1, LONGEST_SIDE)
        if crop > resize:
            raise ValueError(f"a crop of {crop} does not fit into an image resized to {resize}")
        self.resize = resize
        self.crop = crop

    def __call__(self, height: int, width: int, random: np.random.Generator) -> View:
        left, top = random.integers(0, self.resize - self.crop + 1, size=2)
        scale_x, scale_y = width / self.resize, height / self.resize
        return View(
            left * scale_x,
            top * scale_y,
            (left + self.crop) * scale_x,
            (top + self.crop) * scale_y,
            mirrored=bool(random.random() < 0.5),
        )
