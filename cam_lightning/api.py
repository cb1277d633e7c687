"""From Python: `load` gives a network, `localize` classes, maps and boxes of images, `boxes` those of any heat map."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.build import choice, instantiate, network_for_photos
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import ActivationMap, BoxGenerator, Network, Recipe
from cam_lightning.dataset.pipeline.transform import height_and_width
from cam_lightning.localization.any_map import MapBoxes
from cam_lightning.localization.any_map import map_boxes as boxes
from cam_lightning.localization.photos import Image, LocalizedImage, is_one_image, localized
from cam_lightning.run.checkpoint import DESCRIPTION, checkpoint_file, read_checkpoint
from cam_lightning.run.place import CONF

__all__ = ["Image", "LocalizedImage", "MapBoxes", "boxes", "load", "localize"]


def load(
    source: str | os.PathLike[str],
    weights: str | None = None,
    *,
    device: str = "auto",
    trust: Sequence[str] = (),
    **options: Any,
) -> TrunkNetwork:
    """A network in eval mode that knows its classes' names, its input size, and the rule of its boxes.

    `source` is a run's directory (its last checkpoint), a checkpoint, or the name of a backbone with `weights`:
    `imagenet` or a file; `options` are that backbone's own, such as `trunk` for `timm_gap`. `device` is `auto` (a
    GPU if there is one), `cpu` or `cuda`. A checkpoint may be anybody's: it builds parts of ours, and of the packages
    that `trust` names.

    Raises FileNotFoundError for what does not exist, and ValueError for options that do not belong together, for a
    file that is no checkpoint of ours, for one that asks for what is not trusted, and for weights that do not cover
    every layer.
    """
    path = Path(source).expanduser()
    parts: dict[str, Any] = {"image_size": None, "device": device, "trust": list(trust)}
    if path.exists():
        if weights is not None or options:
            raise ValueError(f"{path} brings its own weights and options: weights={weights!r}, {options} are too many")
        file = str(checkpoint_file(path))
        saved = read_checkpoint(file)[DESCRIPTION]["config"]
        parts |= {"checkpoint": file, **{part: saved[part] for part in _PARTS if part in saved}}
    else:
        backbone = _backbone(str(source), weights, options)
        rules = {group: choice(group, name) for group, name in _DEFAULTS.items()}
        parts |= {"checkpoint": None, **rules, "backbone": backbone}
    return network_for_photos(OmegaConf.create(parts))


_PARTS = ("backbone", "method", "cam", "box")
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
    config = choice("backbone", name)
    unknown = sorted(set(options) - set(config))
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(map(str, config)))}")
    chosen: dict[Any, Any] = {**options, "weights": str(weights)}
    return cast(DictConfig, OmegaConf.merge(config, chosen))


def _named_maps(cam: ActivationMap | Mapping[str, ActivationMap] | Sequence[str]) -> list[tuple[str, ActivationMap]]:
    """Maps by name; raises ValueError for none, and for a name that conf/cam has not."""
    if isinstance(cam, Mapping):
        named = list(cam.items())
    elif isinstance(cam, Sequence):
        names = [cam] if isinstance(cam, str) else list(cam)
        known = sorted(path.stem for path in (CONF / "cam").glob("*.yaml"))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"there is no map called {unknown[0]!r}; there are {', '.join(known)}")
        named = [(name, instantiate(choice("cam", name))) for name in names]
    else:
        named = [("", cam)]
    if not named:
        raise ValueError("localize needs a map at least, and cam names none")
    return named


def localize(
    network: Network,
    images: Image | Iterable[Image],
    *,
    image_size: int | tuple[int, int] | None = None,
    cam: ActivationMap | Mapping[str, ActivationMap] | Sequence[str] | None = None,
    box: BoxGenerator | None = None,
    batch_size: int = 16,
) -> Iterator[LocalizedImage]:
    """Classes, maps and boxes of images of any sizes, one by one in their order, as evaluation makes them.

    Images are read, and results made, batch by batch as they are asked for, so any number fits into memory; an
    array of several images (B, H, W, 3) is its images. Files and PIL images are turned upright as their EXIF
    orientation says, and boxes are in those pixels. What is not given is as the network was loaded, or else 224, the
    class activation map and the largest component above 20 % of its maximum. Everything is float32.

    `cam` is a map, or several that share a forward: names of `conf/cam`, as `["cam", "grad_cam"]`, or maps by names of
    your own. The first is the result's own, the others are in `further` by their names.

    Raises ValueError for a network in training mode, for one without a class activation map where `cam` needs one,
    and for what is no path, PIL image or uint8 array (H, W, 3); when their turn comes, OSError for a file that cannot
    be read, and FloatingPointError for a network whose output is not finite.
    """
    recipe = getattr(network, "recipe", None) or Recipe([], (224, 224), ClassActivationMap(), LargestComponent())
    recipe = recipe._replace(
        input_size=recipe.input_size if image_size is None else height_and_width(image_size), box=box or recipe.box
    )
    if cam is not None:
        first, *others = _named_maps(cam)
        recipe = recipe._replace(cam=first[1], further_cams=dict(others))
    wanted = [images] if is_one_image(images) else images
    return localized(network, wanted, recipe, batch_size)  # type: ignore[arg-type]
