"""Read me first: the words, shapes and promises that every room of `cam_lightning` shares.

Axes, as suffixes of names wherever a reader would otherwise guess:

    B image in a batch      C class                      H W image pixels
    K channel (unit)        T ranked class, best first   h w map cells
    N ground-truth box      P proposed box               L grey level      Q threshold

Boxes are float32 `xyxy` corners, half-open: a box of one pixel is one wide, and its area is
(x1 - x0) · (y1 - y0). Every box lives in a named frame: `original`, the pixels of the image file,
or `input`, the pixels that the network sees. Boxes that leave their room are in `original`.

An image may have several ground-truth boxes. A hit is: the best IoU over them is at least the threshold.

The main job, from images to numbers:

    Batch.image ─ Network ─→ ClassifierOutput ─ ActivationMap ─→ map_BThw ─ BoxGenerator ─→ Proposals
                                                  Localization = all of these for one batch
                              LocalizationMetric.update(localization, truth) ─→ integer counters
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn


class GroundTruth(NamedTuple):
    """What is known of the images of one batch; frame `original`."""

    label_B: Tensor
    """int64: the image's class."""
    boxes_BN4: Tensor
    """float32: ground-truth boxes of that class; rows from `num_boxes_B` on are zero."""
    num_boxes_B: Tensor
    """int64: how many rows of `boxes_BN4` are boxes; 0 where no box is known."""
    size_B2: Tensor
    """int64: height and width of the original image, in that order."""
    mask_BHW: Tensor | None = None
    """uint8 in frame `input`: 1 object, 0 background, 255 ignored; None where the dataset has no masks."""


class Batch(NamedTuple):
    """What a data loader hands to a method. It holds numbers only: names are looked up by `index_B`."""

    image_B3HW: Tensor
    """uint8 RGB in the input frame. The method normalises it on the device, with the network's own values."""
    truth: GroundTruth
    index_B: Tensor
    """int64: the image's position in its split, the key to its id, its original and its masks."""
    skipped_S: Tensor | None = None
    """int64: positions of images that belong here and could not be read (`dataset.on_bad_image=skip`); None: none.
    In evaluation they are left out, and a batch of which none is left holds no image. In training another stands in."""


class ClassifierOutput(NamedTuple):
    """What a network returns: float32, also under mixed precision."""

    logits_BC: Tensor
    features_BKhw: Tensor
    """What the network pools: `pool(features) → classifier → logits`."""


class Proposals(NamedTuple):
    """What a box generator makes of the maps of one batch: guesses, the best first."""

    boxes_BP4: Tensor
    """float32, frame `original`."""
    rank_P: tuple[int, ...]
    """Which of the T ranked maps each proposal comes from: `(0, 1, 2, 3, 4)` for one box per class."""
    degenerate_BP: Tensor
    """bool: the map named no region (constant, not finite, nowhere positive), so the box is the whole image."""


class Localization(NamedTuple):
    """The network's answer for one batch, on the CPU: ranked classes, raw maps, boxes in frame `original`."""

    classes_BT: Tensor
    """int64: predicted classes, best first; T is the smaller of 5 and the number of classes."""
    probability_BT: Tensor
    """float32: softmax over all classes, at `classes_BT`."""
    map_BThw: Tensor
    """float32: raw maps of `classes_BT`, never normalised."""
    proposals: Proposals
    label_map_Bhw: Tensor
    """float32: the raw map of the image's true class (GT-known localization)."""
    label_box_B4: Tensor
    """float32: the first proposal from `label_map_Bhw`."""
    label_degenerate_B: Tensor
    """bool: as `Proposals.degenerate_BP`, for `label_map_Bhw`."""


@runtime_checkable
class Network(Protocol):
    """A classifier whose last steps are a global pooling and one linear layer."""

    classifier: nn.Module
    """`nn.Linear`, whose rows are the weights of the map; `nn.Identity` where a unit is a class (NIN)."""
    mean: tuple[float, float, float]
    """RGB mean that the input is normalised with, for pixels in 0..1."""
    std: tuple[float, float, float]
    has_cam: bool
    """False for networks without a pooled linear head: they classify, and have no class activation map."""

    def __call__(self, x_B3HW: Tensor) -> ClassifierOutput: ...

    def select_classes(self, indices: list[int]) -> Network:
        """The same network restricted to some classes, in the order given; `self` is left as it is."""
        ...


class ActivationMap(Protocol):
    """Turns a network's output into one map per wanted class.

    It may have `check(network, input_size)`, which raises ValueError before any image is read, and `protocol()`, its
    options as a results file holds them.
    """

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        """Raw float32 maps (B, T, h, w) of the classes `classes_BT`, on the features' device."""
        ...


class BoxGenerator(Protocol):
    """Turns maps into boxes."""

    def __call__(self, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
        """Boxes in frame `original`, whose height and width per image are `size_B2`."""
        ...


@runtime_checkable
class ThresholdSweep(Protocol):
    """A box generator with a threshold, that can box a map at many of them for little more than at one."""

    def sweep(self, map_hw: Tensor, size: tuple[int, int], input_size: tuple[int, int], thresholds_Q: Any) -> Tensor:
        """Boxes (Q, 4) of one map, each as the generator gives it at that threshold; frame `original`."""
        ...


class Recipe(NamedTuple):
    """How a network is used on images without labels: as it was trained, or as its weights were published."""

    class_names: list[str]
    """For people, by output."""
    input_size: tuple[int, int]
    """Height and width that every image is squashed to."""
    cam: ActivationMap
    box: BoxGenerator


class LocalizationMetric(Protocol):
    """A torchmetrics Metric of sum-reduced integer counters that scores localizations."""

    needs_maps: bool
    """True where the metric reads maps, so that a trivial box (a baseline) cannot be scored by it."""

    def update(self, localization: Localization, truth: GroundTruth) -> None: ...

    def compute(self) -> dict[str, float]:
        """Flat keys below the split's name, such as `localization_error/top1`; errors are fractions."""
        ...

    def reset(self) -> None: ...


class ImageSource(Protocol):
    """One split of a dataset, as evaluation's sinks see it: by position, in the dataset's order."""

    ids: Sequence[str]
    class_names: Sequence[str]
    """The dataset's own, by label: WordNet ids where it has them."""

    def __len__(self) -> int: ...

    def original(self, index: int) -> np.ndarray:
        """uint8 RGB (H, W, 3) in frame `original`."""
        ...


Results = dict[str, Any]
"""Flat results of a run: `test/localization_error/top1` → a fraction, `protocol/…` → how it was made."""
