"""GT-known localization error: is the box right when the class is given?"""

from __future__ import annotations

from cam_lightning.contracts import GroundTruth, Localization, Reads, Spec
from cam_lightning.functional.localization_error import gt_known_hits
from cam_lightning.metric.counter import CounterMetric, error_rate


class GtKnownError(CounterMetric):
    """The share of images whose box, from the map of the true class, misses every ground-truth box.

    Images without a known box are not counted.
    """

    needs_maps = False
    reads: Reads = "label"

    def __init__(self, iou_threshold: float = 0.5) -> None:
        super().__init__(hits=(), num_images=())
        self.iou_threshold = iou_threshold

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU, boxes in frame `original`."""
        has_box_B = truth.num_boxes_B > 0
        self.add("hits", (gt_known_hits(localization, truth, self.iou_threshold) & has_box_B).sum())
        self.add("num_images", has_box_B.sum())

    def compute(self) -> dict[str, float]:
        """`gt_known_error`, as a fraction; nothing where no image had a box."""
        if self.count("num_images") == 0:
            return {}
        return {"gt_known_error": error_rate(self.count("hits"), self.count("num_images"))}

    def specs(self) -> dict[str, Spec]:
        # On one plate with the errors of boxes: it is what they come to when every class is right.
        return {
            "gt_known_error": Spec(
                "GT-known error", family="localization error", has_baseline=True, headline=20, label="GT-known"
            )
        }
