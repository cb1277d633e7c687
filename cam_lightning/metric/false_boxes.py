"""Boxes where there is no object: of images of a negative class, and objects that are not boxed at all."""

from __future__ import annotations

from collections.abc import Sequence

from cam_lightning.contracts import GroundTruth, Localization, Reads, Spec
from cam_lightning.metric.counter import CounterMetric
from cam_lightning.run.choice import nearest


class FalseBoxes(CounterMetric):
    """How often a box is drawn on an image without the object, and how often none on an image with it.

    `negative` is the class that such images have: its name, as the dataset has it, or its label, the position among the
    class names. A box is drawn where another class is predicted best. Images of that class have no true boxes, so that
    no localization error counts them: they count in the classification error, and here. None: there is no such class,
    and nothing is counted. Raises ValueError for a label below 0 and for an empty name.
    """

    needs_maps = True
    reads: Reads = "label"

    def __init__(self, negative: str | int | None = None) -> None:
        if negative == "" or (isinstance(negative, int) and negative < 0):
            raise ValueError(
                f"metric.false_boxes.negative is a class's name or label, 0 or above, or null; got {negative!r}"
            )
        super().__init__(false=(), num_without=(), missed=(), num_with=())
        self.negative = negative
        self.label = None if isinstance(negative, str) else negative
        """What `negative` means; of a name, None until the names are known."""

    def know_classes(self, names: Sequence[str]) -> None:
        """Finds the class among the dataset's; raises ValueError where it has none of that name or label."""
        if isinstance(self.negative, str) and self.negative in names:
            self.label = list(names).index(self.negative)
        elif self.negative is not None and not (isinstance(self.negative, int) and self.negative < len(names)):
            raise ValueError(
                f"metric.false_boxes.negative={self.negative} is none of the dataset's {len(names)} classes; there is: "
                f"{nearest(str(self.negative), names)}"
            )

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU.

        Raises ValueError for a negative image that has a true box, and for a name of which nobody has said what label
        it is.
        """
        if self.negative is None:
            return
        if self.label is None:
            raise ValueError(
                f"metric.false_boxes.negative={self.negative}: the classes' names are not known here: give its label"
            )
        is_without_B = truth.label_B == self.label
        if (is_without_B & (truth.num_boxes_B > 0)).any():
            raise ValueError(
                f"metric.false_boxes.negative={self.negative} is the class of images without the object, and one of "
                "them has a true box: is it another class's label?"
            )
        is_drawn_B = localization.classes_BT[:, 0] != self.label
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
