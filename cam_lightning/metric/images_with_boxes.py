"""How many images had boxes: what every localization error is of."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.contracts import Spec
from cam_lightning.metric.counter import CounterMetric


class ImagesWithBoxes(CounterMetric):
    """Counts the images of which a ground-truth box is known, so that boxes that were not found show in every table."""

    def __init__(self) -> None:
        super().__init__(num_with_boxes=())

    def update(self, num_boxes_B: Tensor) -> None:
        """Counts one batch, of which image b has `num_boxes_B[b]` boxes."""
        self.add("num_with_boxes", (num_boxes_B > 0).sum())

    def compute(self) -> dict[str, float]:
        """`num_with_boxes`, counted on all ranks; 0 is a result too."""
        return {"num_with_boxes": self.count("num_with_boxes")}

    def specs(self) -> dict[str, Spec]:
        return {"num_with_boxes": Spec("with boxes", "count", better=None, of="num_images", role="part")}
