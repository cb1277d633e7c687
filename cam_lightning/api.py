"""From Python: `load` gives a network, `localize` gives classes, maps and boxes of images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.build import (
    checkpoint_file,
    checkpoint_network,
    inherit_from_checkpoint,
    published_network,
    read_checkpoint,
)
from cam_lightning.callback.localization import activation_maps
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import ActivationMap, BoxGenerator, Network, Recipe
from cam_lightning.dataset.imagenet import imagenet_names
from cam_lightning.dataset.pipeline.image_file import read_photo
from cam_lightning.dataset.pipeline.transform import height_and_width, resized_view
from cam_lightning.functional.network_input import full_float32, normalised
from cam_lightning.launch.entry_point import CONF, root_cause

Image = str | os.PathLike[str] | np.ndarray
"""A file, or its pixels: uint8 RGB (H, W, 3)."""


class LocalizedImage(NamedTuple):
    """What a network says of one image; tensors on the CPU, boxes in frame `original`."""

    size: tuple[int, int]
    """Height and width of the image."""
    classes_T: Tensor
    """int64: predicted classes, best first; T is the smaller of 5 and the number of classes."""
    names: list[str]
    """The names of `classes_T`."""
    probability_T: Tensor
    """float32: softmax over all classes, at `classes_T`."""
    map_Thw: Tensor
    """float32: raw maps of `classes_T`, never normalised."""
    boxes_P4: Tensor
    """float32 xyxy, half-open: one box per class, or what another box generator proposes, best first."""
    rank_P: tuple[int, ...]
    """Which of the T classes each box is of."""
    degenerate_P: Tensor
    """bool: the map named no region, so the box is the whole image."""


def load(
    source: str | os.PathLike[str], weights: str | None = None, *, device: str = "auto", **options: Any
) -> TrunkNetwork:
    """A network in eval mode that knows its classes' names, its input size, and the rule of its boxes.

    `source` is a run's directory (its last checkpoint), a checkpoint, or the name of a backbone with `weights`:
    `imagenet` or a file; `options` are that backbone's own, such as `trunk` for `timm_gap`. `device` is `auto` (a
    GPU if there is one), `cpu` or `cuda`.

    Raises FileNotFoundError for what does not exist, and ValueError for options that do not belong together, for a
    file that is no checkpoint of ours and for weights that do not cover every layer.
    """
    path = Path(source).expanduser()
    parts: dict[str, Any] = {"checkpoint": None, "cam": {}, "box": {}, "image_size": None, "device": device}
    try:
        if path.exists():
            if weights is not None or options:
                raise ValueError(
                    f"{path} brings its own weights and options: weights={weights!r}, {options} are too many"
                )
            config = OmegaConf.create({**parts, "checkpoint": str(checkpoint_file(path)), "backbone": {}})
            inherit_from_checkpoint(config, [])
        else:
            backbone = _backbone(str(source), weights, options)
            rules = {group: OmegaConf.load(CONF / group / f"{name}.yaml") for group, name in _DEFAULTS.items()}
            config = OmegaConf.create({**parts, **rules, "backbone": backbone})
        return network_for_photos(config)
    except HydraException as error:
        # Hydra wraps what a part raises; in Python the part's own error says it best.
        raise root_cause(error) from error


_DEFAULTS = {"cam": "cam", "box": "largest_component"}


def _backbone(name: str, weights: str | None, options: dict[str, Any]) -> DictConfig:
    path = CONF / "backbone" / f"{name}.yaml"
    if not path.is_file():
        names = sorted(other.stem for other in path.parent.glob("*.yaml"))
        raise FileNotFoundError(
            f"{name} is neither a run's directory, nor a checkpoint, nor a backbone ({', '.join(names)})"
        )
    if weights is None:
        raise ValueError(f"load({name!r}) needs weights: 'imagenet', or a file")
    config = cast(DictConfig, OmegaConf.load(path))
    unknown = sorted(set(options) - set(config))
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(map(str, config)))}")
    chosen: dict[Any, Any] = {**options, "weights": str(weights)}
    return cast(DictConfig, OmegaConf.merge(config, chosen))


def network_for_photos(config: DictConfig) -> TrunkNetwork:
    """The network of `config.checkpoint`, or a backbone with weights, in eval mode on `config.device`, with its recipe.

    Images are seen at `config.image_size`, or where it is None at the checkpoint's, else at 224. WordNet ids get
    their English names.
    """
    image_size = config.image_size
    if config.checkpoint is not None:
        network, output_names = checkpoint_network(config)
        description = read_checkpoint(config.checkpoint)["cam_lightning"]
        image_size = image_size or description["config"]["dataset"]["image_size"]
    else:
        network, output_names = published_network(config)
    output_names = output_names or [f"class {index}" for index in range(network.num_classes)]
    network.recipe = Recipe(
        class_names=[imagenet_names().get(name, name) for name in output_names],
        input_size=height_and_width(image_size or 224),
        cam=instantiate(config.cam, _convert_="all"),
        box=instantiate(config.box, _convert_="all"),
    )
    return network.eval().to(_device(config.device), memory_format=torch.channels_last)  # type: ignore[call-overload]


def _device(name: str) -> torch.device:
    """`auto` is a GPU if there is one; raises ValueError for what is no device or not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device is auto, cpu or cuda; got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name}, but torch sees no GPU; device=auto takes one if there is one")
    return device


def localize(
    network: Network,
    images: Image | Iterable[Image],
    *,
    image_size: int | tuple[int, int] | None = None,
    cam: ActivationMap | None = None,
    box: BoxGenerator | None = None,
    batch_size: int = 16,
) -> Iterator[LocalizedImage]:
    """Classes, maps and boxes of images of any sizes, one by one in their order, as evaluation makes them.

    Images are read, and results made, batch by batch as they are asked for, so any number fits into memory; an
    array of several images (B, H, W, 3) is its images. Files are turned upright as their EXIF orientation says, and
    boxes are in those pixels. What is not given is as the network was loaded, or else 224, the class activation map
    and the largest component above 20 % of its maximum. Everything is float32.

    Raises ValueError for a network in training mode, for one without a class activation map where `cam` needs one,
    and for arrays other than uint8 (H, W, 3); OSError for a file that cannot be read, when its turn comes.
    """
    if getattr(network, "training", False):
        raise ValueError("the network is in training mode, where dropout and batch statistics blur it: network.eval()")
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1; got {batch_size}")
    recipe = getattr(network, "recipe", None) or Recipe([], (224, 224), ClassActivationMap(), LargestComponent())
    recipe = Recipe(
        recipe.class_names,
        recipe.input_size if image_size is None else height_and_width(image_size),
        cam or recipe.cam,
        box or recipe.box,
    )
    check = getattr(recipe.cam, "check", None)
    if check is not None:
        check(network, recipe.input_size)
    several = images.ndim == 4 if isinstance(images, np.ndarray) else not isinstance(images, str | os.PathLike)
    return _localized(network, iter(images if several else [images]), recipe, batch_size)  # type: ignore[arg-type, list-item]


def _localized(network: Network, images: Iterator[Image], recipe: Recipe, batch_size: int) -> Iterator[LocalizedImage]:
    def seen(image: Image) -> tuple[Tensor, tuple[int, int]]:
        """At the input size: of a whole batch, the originals would be too many to hold."""
        pixels_HW3 = _pixels(image)
        return resized_view(pixels_HW3, None, recipe.input_size), (pixels_HW3.shape[0], pixels_HW3.shape[1])

    while batch := list(map(seen, islice(images, batch_size))):
        shown, sizes = zip(*batch, strict=True)
        yield from _localized_batch(network, torch.stack(shown), list(sizes), recipe)


def _pixels(image: Image) -> np.ndarray:
    if isinstance(image, str | os.PathLike):
        return read_photo(Path(image).expanduser())
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"an image is a path or a uint8 RGB array (H, W, 3); got {given}")
    # torch takes neither mirrored arrays nor, without a warning, those that may not be written.
    return np.require(image, requirements=["C", "W"])


@torch.no_grad()
def _localized_batch(
    network: Network, pixels_B3HW: Tensor, sizes: list[tuple[int, int]], recipe: Recipe
) -> list[LocalizedImage]:
    device = next(cast(nn.Module, network).parameters()).device
    with full_float32(device.type):
        image_B3HW = normalised(pixels_B3HW.to(device), network.mean, network.std)
        # As in evaluation, down to the last bits.
        image_B3HW = image_B3HW.contiguous(memory_format=torch.channels_last)
        output = network(image_B3HW)
        classes_BT, probability_BT, map_BThw = activation_maps(network, recipe.cam, image_B3HW, output)
    proposals = recipe.box(map_BThw, torch.tensor(sizes), recipe.input_size)
    names = recipe.class_names or [str(index) for index in range(output.logits_BC.shape[1])]
    return [
        LocalizedImage(
            size,
            classes_BT[row],
            [names[index] for index in classes_BT[row].tolist()],
            probability_BT[row],
            map_BThw[row],
            proposals.boxes_BP4[row],
            proposals.rank_P,
            proposals.degenerate_BP[row],
        )
        for row, size in enumerate(sizes)
    ]
