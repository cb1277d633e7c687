"""PxAP: the area under the precision-recall curve of pixels, over a whole dataset with masks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from cam_lightning.functional.pixel_precision import count_pixels, pixel_average_precision
from cam_lightning.metric.counter import CounterMetric


class PixelAveragePrecision(CounterMetric):
    """Pixel average precision of score maps against masks, where ignored pixels do not count.

    All pixels of the dataset make one curve. Choe et al. 2020, section 3; clovaai/wsolevaluation, evaluation.py.
    """

    pixels: Tensor

    def __init__(self, interval: float = 0.001) -> None:
        if not 0 < interval <= 1:
            raise ValueError(f"metric.pixel_average_precision.interval lies in (0, 1]; got {interval}")
        self.thresholds_Q = np.arange(0, 1, interval)
        super().__init__(pixels=(2, len(self.thresholds_Q) + 1), num_images=())

    def update(self, scores: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> None:
        """Counts score maps (H, W) in [0, 1], and as many masks: 1 object, 0 background, else ignored."""
        for score_HW, mask_HW in zip(scores, masks, strict=True):
            self.add("pixels", torch.from_numpy(count_pixels(score_HW, mask_HW, self.thresholds_Q)))
            self.add("num_images", 1)

    def compute(self) -> dict[str, float]:
        """`pixel_average_precision`, as a fraction; nothing where no image was counted."""
        if self.count("num_images") == 0:
            return {}
        return {"pixel_average_precision": pixel_average_precision(self.pixels.cpu().numpy())}
