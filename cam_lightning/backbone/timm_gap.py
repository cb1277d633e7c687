"""Any convolutional trunk of timm by its name, with a GAP or GMP head; beyond the paper."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Mapping
from functools import partial
from types import ModuleType

import torch
from torch import Tensor, nn

from cam_lightning.backbone.layers import cam_fc
from cam_lightning.backbone.network import GapNetwork, Normalization, PublishedWeights
from cam_lightning.backbone.pooling import Pool
from cam_lightning.backbone.weights import load_weights


def timm_gap(
    num_classes: int,
    trunk: str,
    pool: Pool = "average",
    weights: str = "none",
    new_head: bool = True,
) -> GapNetwork:
    """The features of timm's model `trunk`, pooling, one linear layer, as wide and fine as the model is.

    `weights`: `none`, `imagenet` (what timm publishes under that name), or a file. The model's own
    classifier is loaded too where it reads averaged features; where something lies between, as in
    ConvNeXt and MobileNet-v3, the linear layer is new. `new_head=False` insists that the weights cover
    every layer. Raises ModuleNotFoundError without timm, and ValueError for an unknown name or tag (`NAME.TAG` is one
    of several published weights), for a model without a map of features, such as a vision transformer, and for
    weights that do not fit.
    """
    timm = _timm()
    if not isinstance(trunk, str) or not timm.is_model(trunk):
        close = difflib.get_close_matches(str(trunk), timm.list_models(), n=5)
        raise ValueError(f"timm has no model {trunk!r}" + (f"; close: {', '.join(close)}" if close else ""))
    architecture, _, tag = trunk.partition(".")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        known = f"it publishes {', '.join(tags)}" if tags else "it publishes none"
        raise ValueError(f"timm has no weights {tag!r} of {architecture}: {known}")
    model = timm.create_model(trunk, pretrained=False)
    input_size = model.pretrained_cfg["input_size"]
    channels, unused = _probe(model, trunk, input_size)
    names = {"": "trunk.model."}
    classifier = model.pretrained_cfg["classifier"]
    if unused == {classifier} and isinstance(model.get_classifier(), nn.Linear) and _averages(model):
        names[f"{classifier}."] = "classifier."
    for name in unused:
        # What only timm's own head uses would be parameters without a gradient, which DDP refuses.
        model.set_submodule(name, nn.Identity())
    features = _Features(model)
    network = GapNetwork(
        features,
        cam_fc(channels, num_classes),
        pool=pool,
        normalization=Normalization(model.pretrained_cfg["mean"], model.pretrained_cfg["std"]),
        min_size=_smallest_side(features, channels, input_size[1]),
        published=PublishedWeights(names, partial(_read_timm, trunk)),
    )
    load_weights(network, weights, new_head)
    return network


class _Features(nn.Module):
    """A timm model up to its last map."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_B3HW: Tensor) -> Tensor:
        return self.model.forward_features(x_B3HW)  # type: ignore[operator]


def _timm() -> ModuleType:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("backbone=timm_gap needs the package timm: pip install timm") from error
    return timm


def _probe(model: nn.Module, name: str, input_size: tuple[int, int, int]) -> tuple[int, set[str]]:
    """The channels of the model's last map, and the layers that do not take part in it."""
    # In eval mode: a norm behind a pooling to one cell wants more than one image where it trains.
    shadow = _Features(copy.deepcopy(model).to("meta")).eval()
    features = shadow(torch.zeros(1, *input_size, device="meta"))
    if features.ndim != 4 or features.shape[1] != model.num_features:
        raise ValueError(
            f"timm's {name} gives no map of features (B, K, h, w), but {tuple(features.shape)}: "
            "a class activation map needs a convolutional trunk"
        )
    features.sum().backward()
    without_gradient = [key for key, value in shadow.model.named_parameters() if value.grad is None]
    return features.shape[1], {key.rpartition(".")[0] for key in without_gradient}


def _averages(model: nn.Module) -> bool:
    """Whether the model's own pooling is the average."""
    pools = [module for name, module in model.named_modules() if name.split(".")[-1] == "global_pool"]
    return [getattr(pool, "pool_type", None) for pool in pools] == ["avg"]


def _smallest_side(features: nn.Module, channels: int, largest: int) -> int:
    """The smallest square image, in steps of the map's stride, that the model takes."""
    shadow = copy.deepcopy(features).eval().to("meta")

    def works(side: int) -> bool:
        try:
            return shadow(torch.zeros(1, 3, side, side, device="meta")).numel() >= channels
        except (RuntimeError, AssertionError):  # a kernel larger than its input; a window that does not fit
            return False

    cells = shadow(torch.zeros(1, 3, largest, largest, device="meta")).shape[-1]
    stride = math.ceil(largest / cells)
    return next((side for side in range(stride, largest, stride) if works(side)), largest)


def _read_timm(trunk: str) -> Mapping[str, Tensor]:
    try:
        return _timm().create_model(trunk, pretrained=True).state_dict()
    except RuntimeError as error:
        raise ValueError(f"backbone.weights=imagenet: timm publishes no weights of {trunk}") from error
    except OSError as error:
        raise OSError(
            f"cannot download timm's weights of {trunk} ({error}); fill the cache of Hugging Face from a "
            "machine that can, or name a file of your own: backbone.weights=FILE"
        ) from error
