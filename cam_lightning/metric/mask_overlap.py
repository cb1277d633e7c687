"""Mask IoU at one threshold, fixed beforehand: what `peak_iou` is without looking for the best."""

from __future__ import annotations

import numpy as np

from cam_lightning.contracts import GroundTruth, Localization, Reads, Spec
from cam_lightning.functional.post_processing import PostProcessing, score_map
from cam_lightning.metric.counter import CounterMetric

_OBJECT, _BACKGROUND = 1, 0


class MaskOverlap(CounterMetric):
    """IoU of the true class's map above `threshold` with the object's mask, over the pixels of the whole dataset.

    Above is strictly above, ignored pixels do not count, maps are upsampled to the masks' size, which is the network's
    input. The other options are those of `PostProcessing`. Its best over thresholds is the pIoU of
    `metric/pixel_average_precision.py`. Images without a mask are not counted.
    """

    needs_maps = True
    reads: Reads = "label"

    def __init__(
        self,
        threshold: float = 0.2,
        normalise: str = "max",
        rectify: bool = False,
        upsample: str = "bilinear",
        percentile: float | None = None,
    ) -> None:
        super().__init__(both=(), either=(), num_images=())
        where = "metric.mask_overlap."
        self.rule = PostProcessing(upsample, rectify, normalise, where, percentile)
        self.rule.check_scores(where)
        self.rule.check_threshold(threshold, where)
        self.threshold = threshold

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU."""
        if truth.mask_BHW is None:
            return
        for map_hw, mask_HW in zip(localization.label_map_Bhw, truth.mask_BHW.numpy(), strict=True):
            is_above_HW = score_map(map_hw, mask_HW.shape, self.rule) > self.threshold
            is_object_HW, is_known_HW = mask_HW == _OBJECT, np.isin(mask_HW, (_OBJECT, _BACKGROUND))
            self.add("both", int((is_above_HW & is_object_HW).sum()))
            self.add("either", int(((is_above_HW | is_object_HW) & is_known_HW).sum()))
        self.add("num_images", len(truth.mask_BHW))

    def compute(self) -> dict[str, float]:
        """`mask_iou`; nothing where no image had a mask, 0 where no pixel lies in either."""
        if self.count("num_images") == 0:
            return {}
        return {"mask_iou": self.count("both") / max(self.count("either"), 1)}

    def specs(self) -> dict[str, Spec]:
        title = f"mask IoU at the threshold {self.threshold:g}"
        # On one plate with pIoU.
        return {"mask_iou": Spec(title, better="higher", family="pixel average precision", label="IoU, fixed")}
