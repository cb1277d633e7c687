"""GT-known localization error by the object's size: a mean hides that the small ones are all missed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from cam_lightning.contracts import GroundTruth, Localization, Reads, Spec
from cam_lightning.functional.localization_error import gt_known_hits, largest_share
from cam_lightning.metric.counter import CounterMetric, error_rate


class GtKnownErrorBySize(CounterMetric):
    """As `GtKnownError`, for groups of images: by the share of the image that its largest ground-truth box covers.

    `edges` divide the groups; a share that equals an edge belongs to the group above it. Images without a known box
    are not counted.
    """

    needs_maps = False
    reads: Reads = "label"
    hits: Tensor
    num_images: Tensor

    def __init__(self, edges: Sequence[float] = (0.15, 0.3, 0.5, 0.8), iou_threshold: float = 0.5) -> None:
        if not edges or sorted({0.0, *edges, 1.0}) != [0.0, *edges, 1.0]:
            raise ValueError(
                f"metric.gt_known_error_by_size.edges are shares of the image, rising within (0, 1); got {list(edges)}"
            )
        super().__init__(hits=(len(edges) + 1,), num_images=(len(edges) + 1,))
        self.edges = tuple(edges)
        self.iou_threshold = iou_threshold

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU, boxes in frame `original`."""
        group_B = torch.bucketize(largest_share(truth), torch.tensor(self.edges, dtype=torch.float64), right=True)
        has_box_B = truth.num_boxes_B > 0
        hit_B = gt_known_hits(localization, truth, self.iou_threshold) & has_box_B
        for name, counted_B in (("hits", hit_B), ("num_images", has_box_B)):
            self.add(name, torch.bincount(group_B[counted_B], minlength=len(self.edges) + 1))

    def compute(self) -> dict[str, float]:
        """`gt_known_error_by_size/0_to_0.15` and `…/0_to_0.15/num_images` for every group that has an image."""
        ends = (0, *self.edges, 1)
        values: dict[str, float] = {}
        for low, high, hits, total in zip(ends, ends[1:], self.hits.tolist(), self.num_images.tolist(), strict=False):
            if total:
                key = f"gt_known_error_by_size/{low:g}_to_{high:g}"
                values |= {key: error_rate(hits, total), f"{key}/num_images": total}
        return values

    def specs(self) -> dict[str, Spec]:
        ends = (0, *self.edges, 1)
        specs: dict[str, Spec] = {}
        for low, high in pairwise(ends):
            key = f"gt_known_error_by_size/{low:g}_to_{high:g}"
            specs[key] = Spec(
                f"GT-known error, objects of {low:g} to {high:g} of the image",
                family="GT-known error by the object's share of the image",
                has_baseline=True,
                label=f"{low:g} to {high:g}",
            )
            specs[f"{key}/num_images"] = Spec("images", "count", better=None, of=key, role="num_images")
        return specs
