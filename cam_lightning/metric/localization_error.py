"""Top-1 and top-5 localization error, ILSVRC's measure."""

from __future__ import annotations

from cam_lightning.contracts import GroundTruth, Localization, Spec
from cam_lightning.functional.localization_error import top_k_hits
from cam_lightning.functional.overlap import best_overlap
from cam_lightning.metric.counter import CounterMetric, error_rate


class LocalizationError(CounterMetric):
    """The share of images for which none of the first k guesses is right in both its class and its box.

    Images without a known box are not counted; `num_images` says how many were. Paper: Tables 2 and 3.
    """

    needs_maps = False

    def __init__(self, iou_threshold: float = 0.5) -> None:
        super().__init__(hits_top1=(), hits_top5=(), num_images=())
        self.iou_threshold = iou_threshold

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU, boxes in frame `original`."""
        has_box_B = truth.num_boxes_B > 0
        iou_BP = best_overlap(localization.proposals.boxes_BP4, truth.boxes_BN4, truth.num_boxes_B)
        for k in (1, 5):
            hit_B = top_k_hits(localization, truth, k, iou_BP, self.iou_threshold)
            self.add(f"hits_top{k}", (hit_B & has_box_B).sum())
        self.add("num_images", has_box_B.sum())

    def compute(self) -> dict[str, float]:
        """`localization_error/top1` and `…/top5`, as fractions; nothing where no image had a box."""
        if self.count("num_images") == 0:
            return {}
        return {
            "localization_error/top1": error_rate(self.count("hits_top1"), self.count("num_images")),
            "localization_error/top5": error_rate(self.count("hits_top5"), self.count("num_images")),
        }

    def specs(self) -> dict[str, Spec]:
        return {
            f"localization_error/top{k}": Spec(
                f"localization error, top-{k}",
                family="localization error",
                has_baseline=True,
                headline=place,
                label=f"top-{k}",
            )
            for place, k in enumerate((1, 5), start=10)
        }
