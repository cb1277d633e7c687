"""Any trunk of timm by its name, of convolutions or of tokens, with a GAP or GMP head; beyond the paper."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from cam_lightning.backbone.layers import cam_fc
from cam_lightning.backbone.network import GapNetwork, Normalization, PublishedWeights, TrunkNetwork
from cam_lightning.backbone.pooling import Pool
from cam_lightning.backbone.published_head import PublishedHead
from cam_lightning.backbone.text_head import TextHead, TextTokenHead, load_tower
from cam_lightning.backbone.text_rows import TextRows, read_text_rows
from cam_lightning.backbone.timm_trunk import MapTrunk, TokenTrunk, freeze_unused, token_options
from cam_lightning.backbone.weights import load_weights


def timm_gap(
    num_classes: int,
    trunk: str,
    pool: Pool = "average",
    head: str = "mean",
    image_size: Sequence[int] | int | None = None,
    text: str | None = None,
    weights: str = "none",
    new_head: bool = True,
) -> TrunkNetwork:
    """The features of timm's model `trunk`, pooling, one linear layer, as wide and fine as the model is.

    Of a model of tokens (ViT, DeiT, Swin, DINO, CLIP's and SigLIP's image towers, whatever `forward_intermediates`
    serves) the features are the map of its patch tokens behind its last norm, and `head="mean"` pools those, so that
    the class activation map sums up to the logit. `head="published"` reads what the model's own classifier does, a
    class token mostly, and has no class activation map. Position embeddings are resampled for images of other sizes;
    where timm cannot, `image_size` (a side, or height and width) builds the model for one.

    `text`, a file of embeddings (`text_rows.py`), makes a CLIP tower zero-shot: its rows are the classes, whatever
    `num_classes` says, and the tower's own projection stands before them (`text_head.py`). `head` is then the mean of
    the patches or the class token.

    `weights`: `none`, `imagenet` (what timm publishes under that name), or a file. The model's own
    classifier is loaded too where it reads averaged features, or as published; where something lies between, as in
    ConvNeXt and MobileNet-v3, the linear layer is new. `new_head=False` insists that the weights cover
    every layer. Raises ModuleNotFoundError without timm, and ValueError for an unknown name or tag (`NAME.TAG` is one
    of several published weights), for a model without a map of features, for a `head` that it has not, for
    weights that do not fit, and for `text` with a model that does not project into its space.
    """
    timm = _timm()
    if head not in ("mean", "published"):
        raise ValueError(f"backbone.head is mean or published; got {head!r}")
    if head == "published" and pool != "average":
        raise ValueError(f"backbone.head=published pools as published; backbone.pool={pool} is for head=mean")
    if not isinstance(trunk, str) or not timm.is_model(trunk):
        close = difflib.get_close_matches(str(trunk), timm.list_models(), n=5)
        raise ValueError(f"timm has no model {trunk!r}" + (f"; close: {', '.join(close)}" if close else ""))
    architecture, _, tag = trunk.partition(".")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        known = f"it publishes {', '.join(tags)}" if tags else "it publishes none"
        raise ValueError(f"timm has no weights {tag!r} of {architecture}: {known}")
    size = _height_and_width(image_size)
    plan = _plan(trunk)
    if text is not None:
        return _of_text(read_text_rows(text), text, trunk, plan, pool, head, size, weights)
    if plan is not None and not _gives_map(plan):
        network = _of_tokens(num_classes, trunk, plan, pool, head, size)
    else:
        network = _of_map(num_classes, trunk, pool, head, {} if size is None else {"img_size": size})
    load_weights(network, weights, new_head)
    return network


def _height_and_width(image_size: Sequence[int] | int | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    sides = [image_size] * 2 if isinstance(image_size, int) else [*image_size]
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"backbone.image_size is a side, or height and width; got {image_size}")
    return sides[0], sides[1]


def _of_map(num_classes: int, trunk: str, pool: Pool, head: str, options: Mapping[str, Any]) -> TrunkNetwork:
    """Of a model that ends in a map (B, K, h, w)."""
    try:
        model = _timm().create_model(trunk, pretrained=False, **options)
    except TypeError as error:
        if not options:
            raise
        raise ValueError(f"backbone.image_size: timm's {trunk} is not built for a size; leave it null") from error
    input_size = (3, *options.get("img_size", model.pretrained_cfg["input_size"][1:]))
    channels, unused = _probe(model, trunk, input_size)
    names = {"": "trunk.model."}
    classifier = model.pretrained_cfg["classifier"]
    own = model.get_classifier()
    if head == "published":
        own, unused = _linear(model, trunk), {classifier}
    if head == "published" or (unused == {classifier} and isinstance(own, nn.Linear) and _averages(model)):
        names[f"{classifier}."] = "classifier."
    for name in unused:
        # What only timm's own head uses would be parameters without a gradient, which DDP refuses.
        model.set_submodule(name, nn.Identity())
    features = MapTrunk(model)
    rest: dict[str, Any] = {
        "normalization": Normalization(model.pretrained_cfg["mean"], model.pretrained_cfg["std"]),
        "min_size": _smallest_side(features, channels, input_size[1]),
        "published": PublishedWeights(names, partial(_read_timm, trunk, options)),
    }
    if head == "published":
        return PublishedHead(features, cam_fc(own.in_features, num_classes), **rest)
    return GapNetwork(features, cam_fc(channels, num_classes), pool=pool, **rest)


def _of_tokens(
    num_classes: int, trunk: str, plan: Any, pool: Pool, head: str, size: tuple[int, int] | None
) -> TrunkNetwork:
    """Of a model of tokens, as `plan` is, one on the device `meta`."""
    is_whole = head == "published"
    if is_whole and not isinstance(plan.get_classifier(), nn.Identity):
        _linear(plan, trunk)
    features, rest = _token_trunk(
        trunk, plan, size, is_whole, "classifier." if is_whole or _reads_the_mean(plan) else ""
    )
    if not is_whole:
        return GapNetwork(features, cam_fc(features.channels, num_classes), pool=pool, **rest)
    classifier = cam_fc(features.units, num_classes)
    return PublishedHead(features, classifier, map_layer=features.last_mixed or "", **rest)


def _of_text(
    text: TextRows, file: str, trunk: str, plan: Any, pool: Pool, head: str, size: tuple[int, int] | None, weights: str
) -> TrunkNetwork:
    """Of a CLIP tower and the text that its classes are, with its weights."""
    if pool != "average":
        raise ValueError(f"backbone.text is compared with the mean of the patches; backbone.pool={pool} is for no text")
    own = None if plan is None or _gives_map(plan) else plan.get_classifier()
    if not isinstance(own, nn.Linear):
        raise ValueError(
            f"backbone.text needs a CLIP tower whose head is one linear layer, its projection, such as "
            f"vit_base_patch16_clip_quickgelu_224.openai; timm's {trunk} has none"
        )
    if "QuickGELU" in str(plan.pretrained_cfg.get("notes")) and "quickgelu" not in trunk:
        raise ValueError(
            f"backbone.text needs the tower as it was trained, and timm says that {trunk} was with QuickGELU, which "
            f"this variant has not: backbone.trunk={trunk.replace('_clip_', '_clip_quickgelu_')}"
        )
    if own.out_features != text.text_CK.shape[1]:
        raise ValueError(
            f"backbone.text={file} has rows of {text.text_CK.shape[1]} values, and the head of timm's {trunk} gives "
            f"{own.out_features}: take the same CLIP's text tower, and a tag of one not fine-tuned, such as .laion2b"
        )
    features, rest = _token_trunk(trunk, plan, size, head == "published", "projection.")
    projection = nn.Linear(own.in_features, own.out_features, bias=own.bias is not None)
    network = (
        TextTokenHead(features, projection, text, map_layer=features.last_mixed or "", **rest)
        if head == "published"
        else TextHead(features, projection, text, **rest)
    )
    load_tower(network, text, weights)
    return network


def _token_trunk(
    trunk: str, plan: Any, size: tuple[int, int] | None, is_whole: bool, head: str
) -> tuple[TokenTrunk, dict[str, Any]]:
    """The trunk, and what else its network is made of; the model's own linear layer is loaded as `head`, "" nowhere."""
    model, options = _created(trunk, size)
    try:
        features = TokenTrunk(model, trunk, size or tuple(plan.pretrained_cfg["input_size"][1:]), is_whole)
    except (AttributeError, TypeError, AssertionError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise ValueError(
            f"timm's {trunk} gives no map of features: its forward_intermediates does not serve here ({reason})"
        ) from error
    freeze_unused(features)
    names = {"": "trunk.model."} | ({f"{plan.pretrained_cfg['classifier']}.": head} if head else {})
    return features, {
        "normalization": Normalization(plan.pretrained_cfg["mean"], plan.pretrained_cfg["std"]),
        "min_size": features.min_size,
        "published": PublishedWeights(names, partial(_read_timm, trunk, options)),
    }


def _plan(trunk: str) -> Any:
    """The model on the device `meta`, where timm says that its input's size is fixed; None for all others."""
    timm = _timm()
    if not getattr(timm.get_pretrained_cfg(trunk), "fixed_input_size", False):
        return None
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return timm.create_model(trunk, pretrained=False).eval()


def _gives_map(plan: Any) -> bool:
    features = plan.forward_features(torch.zeros(1, *plan.pretrained_cfg["input_size"], device="meta"))
    return isinstance(features, Tensor) and features.ndim == 4 and features.shape[1] == plan.num_features


def _created(trunk: str, size: tuple[int, int] | None) -> tuple[nn.Module, dict[str, Any]]:
    """The model with the first options that it takes, and those."""
    refused: TypeError | None = None
    for options in token_options(size):
        try:
            return _timm().create_model(trunk, pretrained=False, **options), dict(options)
        except TypeError as error:
            refused = error
    raise ValueError(f"timm's {trunk} does not take backbone.image_size: {refused}") from refused


def _linear(model: Any, trunk: str) -> nn.Linear:
    classifier = model.get_classifier()
    if isinstance(classifier, nn.Linear) and isinstance(model.pretrained_cfg["classifier"], str):
        return classifier
    raise ValueError(
        f"backbone.head=published needs one linear layer at the end, and timm's {trunk} has another: use head=mean"
    )


def _reads_the_mean(plan: Any) -> bool:
    """Whether the model's own classifier reads the mean of the normalised patch tokens."""
    if not isinstance(plan.get_classifier(), nn.Linear):
        return False
    if isinstance(getattr(plan, "global_pool", None), str) and not hasattr(plan.head, "global_pool"):
        is_last = isinstance(getattr(plan, "fc_norm", nn.Identity()), nn.Identity)
        return plan.global_pool == "avg" and is_last and not getattr(plan, "pool_include_prefix", False)
    return _averages(plan) and len([*plan.head.parameters()]) == len([*plan.get_classifier().parameters()])


def _timm() -> ModuleType:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("backbone=timm_gap needs the package timm: pip install timm") from error
    return timm


@torch.enable_grad()
def _probe(model: nn.Module, name: str, input_size: tuple[int, int, int]) -> tuple[int, set[str]]:
    """The channels of the model's last map, and the layers that do not take part in it."""
    # In eval mode: a norm behind a pooling to one cell wants more than one image where it trains.
    shadow = MapTrunk(copy.deepcopy(model).to("meta")).eval()
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


def _read_timm(trunk: str, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
    # The head as it is published, so that its rows are read where the classes are the same.
    options = {key: value for key, value in options.items() if key != "num_classes"}
    try:
        return _timm().create_model(trunk, pretrained=True, **options).state_dict()
    except RuntimeError as error:
        raise ValueError(f"backbone.weights=imagenet: timm publishes no weights of {trunk}") from error
    except OSError as error:
        raise OSError(
            f"cannot download timm's weights of {trunk} ({error}); {_where(trunk)}fill the cache of Hugging Face from "
            "a machine that can, or name a file of your own: backbone.weights=FILE"
        ) from error


def _where(trunk: str) -> str:
    """Which file is to be fetched from where, as far as timm says."""
    config = _timm().get_pretrained_cfg(trunk)
    if getattr(config, "hf_hub_id", None):
        return f"they are model.safetensors or pytorch_model.bin of huggingface.co/{config.hf_hub_id}: "
    return f"they are {config.url}: " if getattr(config, "url", "") else ""
