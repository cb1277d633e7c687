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
                  └ training: Method.view, Method.loss
                             Localizer: all of these for one batch = Localization, keyed by image
          LocalizationMetric.update(localization, truth)              ─→ counters ─→ numbers, each with a Spec
          Evaluator.update(network, image, output, localization, truth) ─→ sums   ─→ numbers, each with a Spec

A part is a file in its room and a yaml of the same group; no other code names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

# --- what travels

CLASS_NOT_KNOWN = 255
"""In `GroundTruth.classes_BC`."""


class GroundTruth(NamedTuple):
    """What is known of the images of one batch; frame `original`."""

    label_B: Tensor
    """int64: the image's class; of an image of several classes the one that this entry is about."""
    boxes_BN4: Tensor
    """float32: ground-truth boxes of that class; rows from `num_boxes_B` on are zero."""
    num_boxes_B: Tensor
    """int64: how many rows of `boxes_BN4` are boxes; 0 where no box is known."""
    size_B2: Tensor
    """int64: height and width of the original image, in that order."""
    mask_BHW: Tensor | None = None
    """uint8 in frame `input`: 1 object, 0 background, 255 ignored; None where the dataset has no masks, and in training
    unless a method asks for them."""
    classes_BC: Tensor | None = None
    """uint8: 1 each class that the image shows, 0 one that it does not, 255 one of which that is not known; None where
    every image has its label alone."""


class Batch(NamedTuple):
    """What a data loader hands to a method. It holds numbers only: names are looked up by `index_B`."""

    image_B3HW: Tensor
    """uint8 RGB in the input frame; from the method's transfer on, float32 normalised with the network's own values."""
    truth: GroundTruth
    index_B: Tensor
    """int64: the image's position in its split, the key to its id, its original and its masks."""
    skipped_S: Tensor | None = None
    """int64: positions of images that belong here and could not be read (`dataset.on_bad_image=skip`); None: none.
    In evaluation they are left out, and a batch of which none is left holds no image. In training another stands in."""
    target_BC: Tensor | None = None
    """float32: shares of classes where a method's view mixes images (CutMix); None: the labels."""
    epoch_B: Tensor | None = None
    """int64: the epoch of each image's view, where training reads what is kept of it in place of pixels
    (`method.cache_features`), which are then NaN; None: the pixels are there."""


class ClassifierOutput(NamedTuple):
    """What a network returns: float32, also under mixed precision."""

    logits_BC: Tensor
    features_BKhw: Tensor
    """What `forward_features` gave and the head has read."""
    more: Mapping[str, Tensor] = {}
    """What a particular head adds for its own method and maps, by name: a second branch's logits, attention."""


class Loss(NamedTuple):
    """What a method makes of one training batch."""

    total: Tensor
    """What is minimised, a scalar."""
    parts: Mapping[str, Tensor] = {}
    """Its terms by name, logged beside it as `train/loss/<name>`; none where there is one term alone."""


class Proposals(NamedTuple):
    """What a box generator makes of the maps of one batch: guesses, the best first."""

    boxes_BP4: Tensor
    """float32, frame `original`."""
    rank_P: tuple[int, ...]
    """Which of the T ranked maps each proposal comes from: `(0, 1, 2, 3, 4)` for one box per class."""
    degenerate_BP: Tensor
    """bool: the map named no region (constant, not finite, nowhere positive), so the box is the whole image."""


class LabelBox(NamedTuple):
    """What is known of the true class's map: GT-known localization."""

    map_Bhw: Tensor
    """float32: the raw map of the image's true class."""
    box_B4: Tensor
    """float32: the first proposal from it, frame `original`."""
    degenerate_B: Tensor
    """bool: as `Proposals.degenerate_BP`."""


Reads = Literal["label", "best", "ranked"]
"""What a metric, an evaluator or a sink reads of a Localization's maps and boxes: those of the true class alone; those
of the best class too; or those of all T ranked classes."""


class Localization(NamedTuple):
    """The network's answer for one batch, on the CPU: ranked classes, raw maps, boxes in frame `original`.

    An evaluation in which nothing reads the maps and boxes of all T classes does not make them: `map_BThw` and
    `proposals` are then of the best class alone, or of none. What is fed by it may say what it reads, by an attribute
    `reads`; without it, it is given all of them.
    """

    index_B: Tensor
    """int64: the images' positions in their split, or among the photos."""
    classes_BT: Tensor
    """int64: predicted classes, best first; T is the smaller of 5 and the number of classes."""
    probability_BT: Tensor
    """float32: softmax over all classes, at `classes_BT`; of a network with `independent_classes`, sigmoids."""
    map_BThw: Tensor
    """float32: raw maps of `classes_BT`, never normalised; or of fewer, as above."""
    proposals: Proposals
    label: LabelBox | None = None
    """None where no label is known, as of one's own photos; then the three below raise ValueError."""
    unit: str = ""
    """What a raw value of these maps is, in words; empty where what makes them does not say."""

    @property
    def label_map_Bhw(self) -> Tensor:
        """The raw map of each image's true class."""
        return self._known_label().map_Bhw

    @property
    def label_box_B4(self) -> Tensor:
        """The first box of that map."""
        return self._known_label().box_B4

    @property
    def label_degenerate_B(self) -> Tensor:
        """Whether that map named no region."""
        return self._known_label().degenerate_B

    def _known_label(self) -> LabelBox:
        if self.label is None:
            raise ValueError("the true class of these images is not known, so they have no map of it")
        return self.label


# --- what the numbers are


class Spec(NamedTuple):
    """What one result is: kept beside it (`results.json`: `specs`), and all that tables and charts know of it."""

    title: str
    """In words: `localization error, top-1`."""
    kind: Literal["share", "number", "count"] = "share"
    """A share of something, said in per cent; a number of its own unit; how many images or maps there were."""
    better: Literal["lower", "higher"] | None = "lower"
    """None: neither is."""
    family: str = ""
    """What shares one plate of a chart and one table: its title, in words."""
    has_baseline: bool = False
    """Whether it makes sense for a box that sees nothing."""
    headline: int | None = None
    """Its place among the few results that a summary shows; None: it is not among them."""
    unit: str = ""
    """Of a number: `s`, `pixels`."""
    of: str = ""
    """The key that this one says something more about, below the same split; empty where it stands for itself."""
    role: Literal["", "variant", "threshold", "num_images", "part"] = ""
    """What it says of that key: the same error by another rule; the threshold it was reached at; how many images; of a
    count, how many among them."""
    label: str = ""
    """How a variant or a group of a family is called beside its like: `oracle`, `0.15 to 0.3`."""
    arm: str = ""
    """Whose it is where several ways are scored at once: `baseline/centre_box`, `grad_cam`; empty: the run's own."""

    @property
    def is_baseline(self) -> bool:
        """Whether it is of a box that sees nothing."""
        return self.arm.startswith("baseline/")


Results = dict[str, Any]
"""Flat results of a run: `test/localization_error/top1` → a fraction, `protocol/…` → how it was made; and `specs`."""


# --- the parts


class Normalization(NamedTuple):
    """What a network expects of its input: (pixels in 0..1 − mean) / std, per channel in the order RGB."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@runtime_checkable
class Network(Protocol):
    """An `nn.Module` that classifies, and knows its own class activation map.

    Calling it is `forward_head(forward_features(x))`. Layers other than the last are reached by their names, as in
    every module (`get_submodule`). It may have `independent_classes = True`, which says that each logit answers for
    its class alone, by a sigmoid, since an image may show several.
    """

    normalization: Normalization

    @property
    def num_classes(self) -> int: ...

    def __call__(self, x_B3HW: Tensor) -> ClassifierOutput: ...

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        """From normalised RGB images to what the head reads, (B, K, h, w), float32."""
        ...

    def forward_head(self, features_BKhw: Tensor) -> ClassifierOutput:
        """From features to class scores, in float32 also under mixed precision."""
        ...

    def class_maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor | None:
        """The raw float32 maps (B, T, h, w) of the classes `classes_BT`; None: this network has no such map."""
        ...

    def select_classes(self, indices: list[int]) -> Network:
        """The same network restricted to some classes, in the order given; `self` is left as it is."""
        ...


class NoClassMapError(ValueError):
    """A network cannot give the map that it is asked for."""


class ActivationMap(Protocol):
    """Turns a network's output into one map per wanted class.

    It may have `check(network, input_size)`, which raises before any image is read (NoClassMapError, ValueError), and
    `protocol()`, its options as a results file holds them, and `unit(network)`, what a raw value is, in words.
    `required = False` says that a run goes on without localization where the network has no such map.
    """

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        """Raw float32 maps (B, T, h, w) of the classes `classes_BT`, on the features' device.

        Whatever it changes of the network on the way (modes, hooks, gradients) is as before afterwards, also after
        an error.
        """
        ...


class BoxGenerator(Protocol):
    """Turns maps into boxes. It may have `protocol()`, its options as a results file holds them."""

    def __call__(self, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
        """Boxes in frame `original`, whose height and width per image are `size_B2`."""
        ...


@runtime_checkable
class ThresholdSweep(Protocol):
    """A box generator with a threshold, that can box a map at many of them for little more than at one."""

    def sweep(self, map_hw: Tensor, size: tuple[int, int], input_size: tuple[int, int], thresholds_Q: Any) -> Tensor:
        """Boxes (Q, 4) of one map, each as the generator gives it at that threshold; frame `original`."""
        ...


class LocalizationMetric(Protocol):
    """A torchmetrics Metric of sum-reduced integer counters that scores localizations.

    It may have `know_classes(names)`, called with the dataset's own class names, by label, before any image is read; it
    raises ValueError where its options name a class that there is not. It may have `reads` (`Reads`), which spares
    maps.
    """

    needs_maps: bool
    """True where the metric reads maps, so that a trivial box (a baseline) cannot be scored by it."""

    def update(self, localization: Localization, truth: GroundTruth) -> None: ...

    def compute(self) -> dict[str, float]:
        """Flat keys below the split's name, such as `localization_error/top1`; errors are fractions."""
        ...

    def specs(self) -> dict[str, Spec]:
        """What each key that `compute` can give is; asked after `compute`, and before a training for the keys alone."""
        ...

    def reset(self) -> None: ...


@runtime_checkable
class ThresholdSelector(Protocol):
    """A localization metric over many thresholds: it chooses the best, and takes those to another split.

    It may have `begin(split, ids)`, called before `carry` with the split that is to come and its images' ids in order,
    and `chosen_for()`, by key of `chosen` the options that it depends on: where they are others, it is not carried.
    """

    curves: dict[str, list[float]]
    """Of the last `compute`: `threshold`, and the error under each key; empty where nothing was counted."""

    def carry(self, thresholds: Mapping[str, float]) -> None:
        """Reports these thresholds by key, chosen on another split; before any image is counted."""
        ...

    def chosen(self) -> dict[str, float]:
        """The best threshold by key on the images that the last `compute` was of."""
        ...


class Evaluator(Protocol):
    """A torchmetrics Metric of sums that may see network and pixels as well as the localization.

    It leaves the network as it finds it, and computes in the precision that surrounds it. One that makes further maps
    has an attribute `cam`, set before the first batch to the `ActivationMap` that made those which it is asked about.
    It may have `reads`, as a metric.
    """

    def update(
        self,
        network: Network,
        image_B3HW: Tensor,
        output: ClassifierOutput,
        localization: Localization,
        truth: GroundTruth,
    ) -> None:
        """Scores one batch: normalised images and the output on the network's device, all else on the CPU."""
        ...

    def compute(self) -> dict[str, float]: ...

    def specs(self) -> dict[str, Spec]:
        """As a `LocalizationMetric`'s."""
        ...

    def reset(self) -> None: ...


class Recipe(NamedTuple):
    """How a network is used on images without labels: as it was trained, or as its weights were published."""

    class_names: list[str]
    """For people, by output."""
    input_size: tuple[int, int]
    """Height and width that every image is squashed to."""
    cam: ActivationMap
    box: BoxGenerator
    further_cams: Mapping[str, ActivationMap] = {}
    """Made beside `cam` on the same forward, by name."""
    further_boxes: Mapping[str, BoxGenerator] = {}
    """Made beside `box` of every map, by name."""


class ImageSource(Protocol):
    """One split of a dataset, as evaluation's sinks see it: by position, in the dataset's order."""

    ids: Sequence[str]
    class_names: Sequence[str]
    """The dataset's own, by label: WordNet ids where it has them."""

    def __len__(self) -> int: ...

    def original(self, index: int) -> np.ndarray:
        """uint8 RGB (H, W, 3) in frame `original`."""
        ...


class Sink(Protocol):
    """Takes every localized batch of an evaluation: a file of predictions, a gallery of overlays.

    It may have `check(split, source)`, which raises ValueError before any image is read, a training's too, where it
    could not take the images of that split. It may have `reads`, as a metric.
    """

    def start(
        self, split: str, source: ImageSource, class_names: Sequence[str], rank: int, world_size: int
    ) -> None: ...

    def add(self, localization: Localization, truth: GroundTruth, further: Mapping[str, Localization]) -> None:
        """The run's own localization of one batch, and those of further maps and boxes by their arm's name."""
        ...

    def finish(self) -> None:
        """Called on every rank, after every rank has added its last batch and before a barrier."""

    def merge(self) -> None:
        """Called on rank zero, after that barrier."""


@runtime_checkable
class Rewindable(Protocol):
    """A logger that can take back what a run logged after the checkpoint that it goes on from."""

    def position(self) -> int:
        """How much has been logged."""
        ...

    def rewind(self, position: int) -> None:
        """Forgets what was logged after `position`."""
        ...
