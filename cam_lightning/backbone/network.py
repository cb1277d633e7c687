"""The networks that the backbones build: a trunk, then a head that says one number per class.

The heads differ in where the classes appear:

    GapNetwork             trunk → pooling over the whole map → linear layer        (GoogLeNet-GAP, -GMP)
    ClassMapNetwork        trunk → one map per class → ReLU → mean                  (NIN, SqueezeNet)
    FullyConnectedNetwork  trunk → pooling to a fixed grid → linear layers; no map      (AlexNet, VGG-16)
    PublishedHead          trunk → what timm publishes → linear layer; no map           (in published_head.py)
    TextHead               trunk → projection → unit length → rows of text              (in text_head.py)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.pooling import Pool, pooling
from cam_lightning.contracts import ClassifierOutput, Normalization, Recipe
from cam_lightning.functional.cam import class_activation_map
from cam_lightning.functional.token_map import TokenLayout

_Module = TypeVar("_Module", bound=nn.Module)

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""torchvision's and timm's usual statistics."""
CENTERED = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Pixels in −1..1: what torchvision's GoogLeNet and Inception-v3 see behind their own `transform_input`."""
CAFFE = Normalization((123 / 255, 117 / 255, 104 / 255), (1 / 255, 1 / 255, 1 / 255))
"""Pixels in 0..255 less the channel means 123, 117, 104: the paper's trunks."""


CAFFE_VGG = Normalization((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255))
"""The same with the means that VGG-16 was published with."""


class PublishedWeights(NamedTuple):
    """How the names in a published file become ours, and where ImageNet weights come from, if anywhere."""

    names: Mapping[str, str]
    """Prefix of a published name → prefix of ours; the longest that fits counts."""
    imagenet: Callable[[], Mapping[str, Tensor]] | None = None
    caffe: Mapping[str, str] = {}
    """Layer of a `.caffemodel` → layer of ours; empty where none is of this network."""
    caffe_order: tuple[str, ...] = ()
    """Layers without weights whose order in such a file tells this network from another of the same shapes."""
    caffe_hint: str = ""
    """What to do with a file of the other order."""


class TrunkNetwork(nn.Module):
    """What the kinds of network share: a `contracts.Network` of a trunk and a head.

    `trunk` maps normalised images (B, 3, H, W) to its last activations; `min_size` is the smallest image
    side that leaves one cell of them; `published` is what `weights.load_weights` can fill it from. Only
    the trunk runs in reduced precision: everything after it is float32, since in bfloat16 the best
    classes tie.
    """

    map_unit = ""
    """What a value of its class activation map is, in words."""
    heads: tuple[str, ...]
    """Names of the layers that have one output per class; the first one's number is the network's."""
    output_names: list[str] | None = None
    """What its outputs are called, where its head was made of named classes."""
    independent_classes = False
    """Whether each logit answers for its class alone, by a sigmoid."""

    def __init__(
        self, trunk: nn.Module, normalization: Normalization, min_size: int, published: PublishedWeights
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.normalization = Normalization(*normalization)
        self.min_size = min_size
        self.published = published
        self.new_layers: tuple[str, ...] = ()
        """Layers that loaded weights did not cover, by name; empty also when nothing was loaded."""
        self.is_loaded = False
        """Whether weights were loaded, so that layers are new or kept."""
        self.recipe: Recipe | None = None
        """How to use it on images without labels; known where it was loaded for that."""

    def features(self, activations_BKhw: Tensor) -> Tensor:
        """What the head reads: the trunk's activations, unless a network derives it from them."""
        return activations_BKhw

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        """Class scores, and what else the head says, from what `features` returned."""
        return ClassifierOutput(self.logits(features_BKhw), features_BKhw)

    def logits(self, features_BKhw: Tensor) -> Tensor:
        """Class scores (B, C) from what `features` returned."""
        raise NotImplementedError

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor | None:
        """Raw maps (B, T, h, w) of some classes, where the head has such."""
        raise NotImplementedError

    def forward(self, x_B3HW: Tensor) -> ClassifierOutput:
        """Classifies normalised RGB images; raises ValueError for another layout or too small an image."""
        return self.forward_head(self.forward_features(x_B3HW))

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        """What the head reads of normalised RGB images, (B, K, h, w), float32; raises ValueError as `forward`."""
        self._require_images(x_B3HW)
        return self._features_of(self.trunk(x_B3HW))

    def first_layers(self, x_B3HW: Tensor, count: int | None) -> Tensor:
        """What the first `count` layers of a trunk that is a sequence give of images; None: what the whole trunk gives.

        Raises ValueError as `forward`.
        """
        self._require_images(x_B3HW)
        return self.trunk(x_B3HW) if count is None else self.trunk[:count](x_B3HW)  # type: ignore[index]

    def forward_behind(self, activations_BKhw: Tensor, count: int | None) -> ClassifierOutput:
        """What `forward` makes of images, from what `first_layers` gave of them."""
        if count is not None:
            # Not a slice: what hangs on the trunk itself, such as a layer behind it, belongs to the rest.
            rest: Any = _shallow_copy(self.trunk)
            del rest[:count]
            activations_BKhw = rest(activations_BKhw)
        return self.forward_head(self._features_of(activations_BKhw))

    def _features_of(self, activations_BKhw: Tensor) -> Tensor:
        with _without_autocast(activations_BKhw.device):
            return self.features(activations_BKhw.float())

    def _require_images(self, x_B3HW: Tensor) -> None:
        if x_B3HW.ndim != 4 or x_B3HW.shape[1] != 3 or not x_B3HW.is_floating_point():
            raise ValueError(
                "a network takes normalised RGB images (B, 3, H, W) of a floating type; "
                f"got {tuple(x_B3HW.shape)} of {x_B3HW.dtype}"
            )
        if min(x_B3HW.shape[2:]) < self.min_size:
            raise ValueError(
                f"images of {x_B3HW.shape[2]}×{x_B3HW.shape[3]} are too small for this network: "
                f"each side needs at least {self.min_size} pixels"
            )

    def forward_head(self, features_BKhw: Tensor) -> ClassifierOutput:
        """Class scores from what `forward_features` gave, in float32."""
        with _without_autocast(features_BKhw.device):
            return self.head(features_BKhw)

    def class_maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor | None:
        """The raw float32 maps (B, T, h, w) of some classes; None where the network has no such map."""
        with _without_autocast(output.features_BKhw.device):
            return self.maps(output, classes_BT)

    def token_layout(self, size: tuple[int, int]) -> TokenLayout | None:
        """How the trunk lays out the tokens of images of this height and width; None where it is none of tokens."""
        ask = getattr(self.trunk, "token_layout", None)
        return None if ask is None else ask(size)

    @property
    def num_classes(self) -> int:
        """How many classes the network tells apart."""
        return int(self.get_submodule(self.heads[0]).weight.shape[0])  # type: ignore[index]

    def select_classes(self, indices: list[int]) -> Self:
        """The same network restricted to the classes `indices`, in that order.

        The trunk is shared, the heads' rows are copies; `self` stays as it is. Raises IndexError for an
        index outside 0..C−1 and ValueError for none or for one that comes twice.
        """
        if not indices:
            raise ValueError("select_classes needs at least one class")
        outside = [index for index in indices if not 0 <= index < self.num_classes]
        if outside:
            raise IndexError(f"classes {outside} are not among this network's 0..{self.num_classes - 1}")
        twice = sorted({index for index in indices if indices.count(index) > 1})
        if twice:
            raise ValueError(f"classes {twice} are selected more than once")
        selected = _shallow_copy(self)
        for head in self.heads:
            parent: nn.Module = selected
            *path, name = head.split(".")
            for part in path:
                setattr(parent, part, _shallow_copy(parent.get_submodule(part)))
                parent = parent.get_submodule(part)
            setattr(parent, name, _select_outputs(parent.get_submodule(name), indices))
        if self.recipe is not None:
            selected.recipe = self.recipe._replace(class_names=[self.recipe.class_names[index] for index in indices])
        return selected


class GapNetwork(TrunkNetwork):
    """Trunk, pooling over the whole map, one linear layer (section 2 of the paper).

    With `pool="average"` the spatial mean of a class's map plus its bias is its logit; `pool="max"` is the
    paper's GMP; what the others sum to, `pooling.py` says. Pooling is a plain reduction, so training is deterministic
    where adaptive pooling is not. Dropout leaves out units, whole maps of them where class maps are pooled.
    """

    heads = ("classifier",)

    def __init__(
        self,
        trunk: nn.Module,
        classifier: nn.Linear,
        *,
        normalization: Normalization,
        min_size: int,
        published: PublishedWeights,
        pool: Pool = "average",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(trunk, normalization, min_size, published)
        self.pool, self.pooling = pooling(pool)
        average = "logit per cell (mean over the cells + bias = logit)"
        self.map_unit = average if self.pool == "average" else "weighted activation per cell"
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    def logits(self, features_BKhw: Tensor) -> Tensor:
        if not self.pooling.of_class_maps:
            return self.classifier(self.dropout(self.pooling(features_BKhw)))
        kept_BK11 = self.dropout(features_BKhw.new_ones(features_BKhw.shape[:2]))[:, :, None, None]
        map_BChw = F.conv2d(features_BKhw * kept_BK11, self.classifier.weight[:, :, None, None])
        return self.pooling(map_BChw) + self.classifier.bias

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        """Section 2 of the paper: the classifier's rows, which weigh the features cell by cell; of GMP as of GAP."""
        weight_CK = self.classifier.weight.detach().float()
        return class_activation_map(output.features_BKhw.detach(), weight_CK[classes_BT])


class ClassMapNetwork(TrunkNetwork):
    """Trunk, then a 1×1 convolution with one map per class, ReLU, mean: unit i is class i.

    The features are the maps before the ReLU, which still say where a class is absent; the logit is the
    mean of the maps after it, as published for NIN and SqueezeNet.
    """

    map_unit = "logit per cell (mean over the cells of what is positive = logit)"
    heads = ("class_conv",)

    def __init__(
        self,
        trunk: nn.Module,
        class_conv: nn.Conv2d,
        *,
        normalization: Normalization,
        min_size: int,
        published: PublishedWeights,
    ) -> None:
        super().__init__(trunk, normalization, min_size, published)
        self.class_conv = class_conv

    def features(self, activations_BKhw: Tensor) -> Tensor:
        return self.class_conv(activations_BKhw)

    def logits(self, features_BKhw: Tensor) -> Tensor:
        return features_BKhw.relu().mean((2, 3))

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        """The units of the wanted classes, before their ReLU."""
        _, _, h, w = output.features_BKhw.shape
        return output.features_BKhw.detach().gather(1, classes_BT[:, :, None, None].expand(-1, -1, h, w))


class FullyConnectedNetwork(TrunkNetwork):
    """Trunk, then fully connected layers on a fixed grid of cells: it classifies, and has no CAM.

    The features are the trunk's last activations; `pool` is the pooling behind them. For images of another
    size than the published one the pooled map is averaged onto `grid`×`grid` cells, as torchvision does.
    """

    def __init__(
        self,
        trunk: nn.Module,
        pool: nn.MaxPool2d,
        classifier: nn.Sequential,
        *,
        grid: int,
        normalization: Normalization,
        min_size: int,
        published: PublishedWeights,
    ) -> None:
        super().__init__(trunk, normalization, min_size, published)
        self.pool = pool
        self.grid = grid
        self.classifier = classifier
        self.heads = (f"classifier.{len(classifier) - 1}",)

    def logits(self, features_BKhw: Tensor) -> Tensor:
        return self.classifier(average_onto_grid(self.pool(features_BKhw), (self.grid, self.grid)).flatten(1))

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> None:
        """None: what the layers behind the grid make of a cell depends on all others."""


def _without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Mixed precision switched off; the meta device, which only follows shapes, has none to switch."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _shallow_copy(module: _Module) -> _Module:
    """A module with registries of its own, whose parts are the original's."""
    twin = copy.copy(module)
    vars(twin).update({name: value.copy() for name, value in vars(module).items() if isinstance(value, dict)})
    return twin


def _select_outputs(layer: nn.Module, indices: list[int]) -> nn.Module:
    """A copy of a linear or convolutional layer that keeps some of its outputs, in the order given."""
    selected = _shallow_copy(layer)
    for name, parameter in layer.named_parameters(recurse=False):
        kept = parameter.detach()[indices].clone()
        setattr(selected, name, nn.Parameter(kept, requires_grad=parameter.requires_grad))
    setattr(selected, "out_features" if isinstance(layer, nn.Linear) else "out_channels", len(indices))
    return selected


def average_onto_grid(features_BKhw: Tensor, grid: tuple[int, int]) -> Tensor:
    """Adaptive average pooling to rows and columns, as two matrix products: its backward is deterministic on a GPU too.

    Where there are more cells than before, some are repeated, as adaptive pooling has it.
    """
    if tuple(features_BKhw.shape[2:]) == grid:
        return features_BKhw
    rows, columns = (
        _averaging_matrix(side, cells, features_BKhw.device)
        for side, cells in zip(features_BKhw.shape[2:], grid, strict=True)
    )
    return rows @ features_BKhw @ columns.T


def _averaging_matrix(size: int, grid: int, device: torch.device) -> Tensor:
    """Row i averages the cells of window i: from ⌊i·size/grid⌋ up to ⌈(i + 1)·size/grid⌉."""
    return F.adaptive_avg_pool1d(torch.eye(size, device=device)[None], grid)[0].T
