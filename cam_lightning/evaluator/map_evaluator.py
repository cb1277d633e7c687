"""What evaluators of maps share: whose map, of which images, and means that no order of the images changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from cam_lightning.contracts import ActivationMap, ClassifierOutput, GroundTruth, Localization, Network, Reads
from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.functional.probability import class_probabilities
from cam_lightning.metric.counter import CounterMetric

_Some = TypeVar("_Some", Localization, GroundTruth)
CLASSES = ("predicted", "label")
_ONE = 2**32
"""Means are counted in integers, whose sum has no order: a value of 1 is this many."""


class Asked(NamedTuple):
    """The images of one batch that are scored: S of them, with one map each; images where the network is, else CPU."""

    image_S3HW: Tensor
    """float32, normalised: the network's input."""
    class_S: Tensor
    """int64: the class whose map it is."""
    map_Shw: Tensor
    """float32, raw."""
    probability_S: Tensor
    """float32: of that class, of the whole image."""
    index_S: Tensor
    """int64: the images' positions in their split."""


class MapEvaluator(CounterMetric):
    """The mean over images of what `values` says of one map each; a `contracts.Evaluator` but for that.

    `of`: `predicted`, the best class of the whole image and its map, or `label`, the true one's. Only images at
    every `every`-th position of the split are scored; at most `batch_size` inputs are in one forward. Raises ValueError
    for options other than these.
    """

    cam: ActivationMap | None = None
    """What made the maps, for evaluators that make further ones; set by who has it (`contracts.Evaluator`)."""

    def __init__(
        self, name: str, values: Sequence[str], of: str = "predicted", every: int = 1, batch_size: int = 32
    ) -> None:
        if of not in CLASSES:
            raise ValueError(f"evaluator.{name}.of is {' or '.join(CLASSES)}; got {of!r}")
        for option, value in (("every", every), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"evaluator.{name}.{option} is at least 1; got {value}")
        super().__init__(**dict.fromkeys((*values, "num_images"), ()))
        self.name = name
        self.values_of = tuple(values)
        self.of = of
        self.reads: Reads = "best" if of == "predicted" else "label"
        self.every = every
        self.batch_size = batch_size

    def values(self, network: Network, asked: Asked, localization: Localization, truth: GroundTruth) -> Tensor:
        """(S, number of values), on the CPU, in the order of `values_of`; the rows of `asked` are those of the others.

        The network is in eval mode, nothing is recorded for gradients, and S is at least 1.
        """
        raise NotImplementedError

    @torch.no_grad()
    def update(
        self,
        network: Network,
        image_B3HW: Tensor,
        output: ClassifierOutput,
        localization: Localization,
        truth: GroundTruth,
    ) -> None:
        """Scores one batch; raises FloatingPointError for an image of which a value is not finite."""
        rows_S = (localization.index_B % self.every == 0).nonzero()[:, 0]
        if len(rows_S) == 0:
            return
        if self.of == "predicted":
            class_B, map_Bhw = localization.classes_BT[:, 0], localization.map_BThw[:, 0]
        else:
            class_B, map_Bhw = truth.label_B, localization.label_map_Bhw
        class_S = class_B[rows_S]
        probability_BC = class_probabilities(network, output.logits_BC).cpu()
        asked = Asked(
            image_B3HW[rows_S.to(image_B3HW.device)],
            class_S,
            map_Bhw[rows_S],
            probability_BC[rows_S].gather(1, class_S[:, None])[:, 0],
            localization.index_B[rows_S],
        )
        with evaluation_mode(network):
            value_SV = self.values(network, asked, _rows(localization, rows_S), _rows(truth, rows_S))
        for index, value_V in zip(asked.index_S.tolist(), value_SV.double(), strict=True):
            if not value_V.isfinite().all():
                raise FloatingPointError(
                    f"evaluator.{self.name}: the network's probabilities or maps are not finite for the image at "
                    f"position {index} of its split, changed as the evaluator changes it"
                )
            for name, value in zip(self.values_of, value_V.tolist(), strict=True):
                self.add(name, round(value * _ONE))
            self.add("num_images", 1)

    def probabilities(self, network: Network, image_S3HW: Tensor, class_S: Tensor) -> Tensor:
        """The probability (S,), on the CPU, of one class of each input."""
        found = []
        for images, classes in zip(image_S3HW.split(self.batch_size), class_S.split(self.batch_size), strict=True):
            probability_SC = class_probabilities(network, network(images).logits_BC).cpu()
            found.append(probability_SC.gather(1, classes[:, None])[:, 0])
        return torch.cat(found)

    def compute(self) -> dict[str, float]:
        """Means over the images scored, by the names in `values_of`; nothing where there was none."""
        num_images = self.count("num_images")
        return {name: self.count(name) / (num_images * _ONE) for name in self.values_of} if num_images else {}


def _rows(batch: _Some, rows_S: Tensor) -> _Some:
    """Some images of a batch."""

    def taken(value: object) -> object:
        if isinstance(value, Tensor):
            return value[rows_S]
        # Proposals and the label's box are tuples of tensors; ranks hold for all images.
        return type(value)(*map(taken, value)) if hasattr(value, "_fields") else value  # type: ignore[call-overload]

    return type(batch)(*map(taken, batch))  # type: ignore[arg-type]
