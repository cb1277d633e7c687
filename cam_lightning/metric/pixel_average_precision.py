"""PxAP and pIoU: the area under the precision-recall curve of pixels, and their best overlap, over a whole dataset."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import GroundTruth, Localization, Reads, Spec
from cam_lightning.functional.pixel_average_precision import count_pixels, peak_overlap, pixel_average_precision
from cam_lightning.functional.post_processing import PostProcessing, score_map
from cam_lightning.metric.counter import CounterMetric


class PixelAveragePrecision(CounterMetric):
    """Pixel average precision of the true class's maps against masks, where ignored pixels do not count.

    All pixels of the dataset make one curve. Maps are upsampled to the masks' size, which is the network's input;
    `interval` lies between thresholds, the other options are those of `PostProcessing`. Where a dataset has no masks
    nothing is counted. Choe et al. 2020, section 3; clovaai/wsolevaluation, evaluation.py. Beside it the overlap of the
    same pixels with the masks at the best threshold of the split, an oracle (pIoU, Zhu et al. 2022).
    """

    needs_maps = True
    reads: Reads = "label"
    pixels: Tensor

    def __init__(
        self,
        interval: float = 0.001,
        normalise: str = "minmax",
        rectify: bool = False,
        upsample: str = "bilinear",
        percentile: float | None = None,
    ) -> None:
        if not 0 < interval <= 1:
            raise ValueError(f"metric.pixel_average_precision.interval lies in (0, 1]; got {interval}")
        self.thresholds_Q = np.arange(0, 1, interval)
        super().__init__(pixels=(2, len(self.thresholds_Q) + 1), num_images=())
        where = "metric.pixel_average_precision."
        self.rule = PostProcessing(upsample, rectify, normalise, where, percentile)
        self.rule.check_scores("metric.pixel_average_precision.")

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU."""
        if truth.mask_BHW is None:
            return
        for map_hw, mask_HW in zip(localization.label_map_Bhw, truth.mask_BHW.numpy(), strict=True):
            self.add("pixels", torch.from_numpy(self.pixels_of(score_map(map_hw, mask_HW.shape, self.rule), mask_HW)))
        self.add("num_images", len(truth.mask_BHW))

    def pixels_of(self, score_HW: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
        """Object and background pixels of one image by score (2, Q + 1); counts nothing, so threads may share it.

        Scores lie in [0, 1]; the mask is 1 on the object, 0 on the background, anything else where it is ignored.
        """
        return count_pixels(score_HW, mask_HW, self.thresholds_Q)

    def compute(self) -> dict[str, float]:
        """`pixel_average_precision`, and `peak_iou` with its `/threshold`; nothing where no image had a mask."""
        if self.count("num_images") == 0:
            return {}
        pixels = self.pixels.cpu().numpy()
        overlap, best = peak_overlap(pixels)
        return {
            "pixel_average_precision": pixel_average_precision(pixels),
            "peak_iou": overlap,
            "peak_iou/threshold": float(np.append(self.thresholds_Q, 1.0)[best]),
        }

    def specs(self) -> dict[str, Spec]:
        family = "pixel average precision"
        return {
            "pixel_average_precision": Spec(
                "pixel average precision (PxAP)", better="higher", family=family, label="PxAP"
            ),
            "peak_iou": Spec("mask IoU at the best threshold (pIoU)", better="higher", family=family, label="pIoU"),
            "peak_iou/threshold": Spec("threshold", "number", better=None, of="peak_iou", role="threshold"),
        }
