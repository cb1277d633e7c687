"""How many of an image's objects are found: recall over all of its true boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cam_lightning.contracts import BoxGenerator, GroundTruth, Localization, Reads, Spec
from cam_lightning.functional.overlap import best_overlap
from cam_lightning.metric.counter import CounterMetric

_ONE = 2**32
"""An image's share of found boxes is counted in such parts: sums of whole numbers do not depend on their order."""


class BoxRecall(CounterMetric):
    """The share of each image's true boxes that some box of the true class's map overlaps enough, averaged over images.

    Beside it the share of all true boxes, in which an image of many objects weighs more. The errors ask whether any
    object is found, this asks for all of them. Boxes are those of the run's own `box`, all that it makes of the map:
    one of `largest_component`, several of `all_components`. One box may find several that lie together; how many boxes
    were drawn is not asked. `input_size` is the network's, an int or height and width, for boxes of frame `input`.
    Images without a known box are not counted.
    """

    needs_maps = True
    reads: Reads = "label"

    def __init__(self, box: BoxGenerator, iou_threshold: float = 0.5, input_size: int | Sequence[int] = 224) -> None:
        super().__init__(shares=(), found=(), num_boxes=(), num_images=())
        self.box = box
        self.iou_threshold = iou_threshold
        height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
        self.input_size = (int(height), int(width))

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU, boxes in frame `original`."""
        rows = truth.num_boxes_B.nonzero()[:, 0]
        if len(rows) == 0:
            return
        map_B1hw = localization.label_map_Bhw[rows][:, None]
        guessed_BP4 = self.box(map_B1hw, truth.size_B2[rows], self.input_size).boxes_BP4
        true_BN4, num_B = truth.boxes_BN4[rows], truth.num_boxes_B[rows]
        # Which true boxes are hit: each asks for the best of the guesses.
        iou_BN = best_overlap(true_BN4, guessed_BP4, torch.full_like(num_B, guessed_BP4.shape[1]))
        is_box_BN = torch.arange(true_BN4.shape[1]) < num_B[:, None]
        found_B = ((iou_BN >= self.iou_threshold) & is_box_BN).sum(1)
        self.add("shares", (found_B.double() / num_B * _ONE).round().long().sum())
        self.add("found", found_B.sum())
        self.add("num_boxes", num_B.sum())
        self.add("num_images", len(rows))

    def compute(self) -> dict[str, float]:
        """`box_recall` and `box_recall/of_all_boxes`; nothing where no image had a box."""
        if self.count("num_images") == 0:
            return {}
        return {
            "box_recall": self.count("shares") / (self.count("num_images") * _ONE),
            "box_recall/of_all_boxes": self.count("found") / self.count("num_boxes"),
        }

    def specs(self) -> dict[str, Spec]:
        mean = Spec("box recall, mean over images", better="higher", family="box recall", label="mean over images")
        return {
            "box_recall": mean,
            "box_recall/of_all_boxes": mean._replace(title="box recall, of all boxes", label="of all boxes"),
        }
