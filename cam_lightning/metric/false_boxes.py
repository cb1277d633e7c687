"""Boxes where there is no object: of images of a negative class, and objects that are not boxed at all."""

from __future__ import annotations

from cam_lightning.contracts import GroundTruth, Localization, Spec
from cam_lightning.metric.counter import CounterMetric


class FalseBoxes(CounterMetric):
    """How often a box is drawn on an image without the object, and how often none on an image with it.

    `negative` is the label of the class that such images have, its position among the class names; a box is drawn
    where another class is predicted best. Images of that class have no true boxes, so that no localization error
    counts them: they count in the classification error, and here. None: there is no such class, and nothing is counted.
    Raises ValueError for a label below 0.
    """

    needs_maps = True

    def __init__(self, negative: int | None = None) -> None:
        if negative is not None and negative < 0:
            raise ValueError(f"metric.false_boxes.negative is a label, 0 or above, or null; got {negative}")
        super().__init__(false=(), num_without=(), missed=(), num_with=())
        self.negative = negative

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU. Raises ValueError for a negative image that has a true box."""
        if self.negative is None:
            return
        is_without_B = truth.label_B == self.negative
        if (is_without_B & (truth.num_boxes_B > 0)).any():
            raise ValueError(
                f"metric.false_boxes.negative={self.negative} is the class of images without the object, and one of "
                "them has a true box: is it another class's label?"
            )
        is_drawn_B = localization.classes_BT[:, 0] != self.negative
        self.add("false", (is_without_B & is_drawn_B).sum())
        self.add("missed", (~is_without_B & ~is_drawn_B).sum())
        self.add("num_without", is_without_B.sum())
        self.add("num_with", (~is_without_B).sum())

    def compute(self) -> dict[str, float]:
        """`false_boxes` and `missed_boxes`, as fractions, each where there was an image that it is of."""
        without, with_object = self.count("num_without"), self.count("num_with")
        values: dict[str, float] = {}
        if without:
            values |= {"false_boxes": self.count("false") / without, "false_boxes/num_images": without}
        if without and with_object:
            values["missed_boxes"] = self.count("missed") / with_object
        return values

    def specs(self) -> dict[str, Spec]:
        family = "images without the object"
        return {
            "false_boxes": Spec("boxes drawn on images without the object", family=family, label="boxed"),
            "false_boxes/num_images": Spec(
                "images without the object", "count", better=None, of="false_boxes", role="num_images"
            ),
            "missed_boxes": Spec("images of an object without a box", family=family, label="objects not boxed"),
        }
