"""The augmentation of the Inception papers: a rectangle of random area and aspect ratio."""

from __future__ import annotations

import math

import numpy as np

from cam_lightning.dataset.pipeline.option import interval
from cam_lightning.dataset.pipeline.transform import View


class RandomResizedCrop:
    """A rectangle of random area and aspect ratio, mirrored half of the time, as in the Inception papers."""

    def __init__(self, area: tuple[float, float] = (0.35, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)) -> None:
        self.area = interval("dataset.augmentation.area", area, most=1)
        self.ratio = interval("dataset.augmentation.ratio", ratio)

    def __call__(self, height: int, width: int, random: np.random.Generator) -> View:
        area = random.uniform(*self.area)
        ratio = math.exp(random.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
        # Shares of the image's sides, so that the same rectangles are drawn for every image size.
        share_x, share_y = min(1.0, math.sqrt(area * ratio)), min(1.0, math.sqrt(area / ratio))
        left, top = random.random(2) * (1 - np.array([share_x, share_y]))
        return View(
            left * width,
            top * height,
            (left + share_x) * width,
            (top + share_y) * height,
            mirrored=bool(random.random() < 0.5),
        )
