"""What the commands that look at one's own photos share: which photos, by which network, and how that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

if TYPE_CHECKING:
    from cam_lightning.contracts import Recipe


def wanted_images(config: DictConfig) -> str | list[str]:
    """What `images=…` names; raises ValueError where nothing is given."""
    if config.images is None:
        raise ValueError("nothing to look at: give images=FILE, FOLDER or GLOB, or several as images=[one,two]")
    if isinstance(config.images, ListConfig):
        return [str(image) for image in config.images]
    return str(config.images)


def require_one_map(config: DictConfig, command: str) -> None:
    """Raises ValueError where several maps or box generators are asked for."""
    if config.get("further"):
        raise ValueError(f"{command} shows one map and its boxes: give one cam and one box; `predict` makes several")


def require_one_network(config: DictConfig) -> None:
    """Raises ValueError where there is no network with weights, or more than one."""
    weights = config.backbone.get("weights", "none")
    if config.checkpoint is None and weights == "none":
        raise ValueError(
            "no network to look with: give checkpoint=FILE, or backbone=NAME with backbone.weights=imagenet or =FILE"
        )
    if config.checkpoint is not None and weights != "none":
        raise ValueError(f"two networks: checkpoint={config.checkpoint} and backbone.weights={weights}; give one")


def protocol(config: DictConfig, recipe: Recipe) -> dict[str, Any]:
    """How photos are looked at, for the file of what was found."""
    from cam_lightning.localization.localizer import protocol as options_of

    further: dict[str, Any] = {
        group: {name: {"method": type(part).__name__, **options_of(part)} for name, part in parts.items()}
        for group, parts in (("cam", recipe.further_cams), ("box", recipe.further_boxes))
        if parts
    }
    return {
        "checkpoint": config.checkpoint,
        "backbone": config.backbone["_target_"].rpartition(".")[2],
        "weights": None if config.checkpoint is not None else config.backbone.weights,
        "image_size": list(recipe.input_size),
        "cam": {"method": type(recipe.cam).__name__, **options_of(recipe.cam)},
        "box": options_of(recipe.box),
        **({"further": further} if further else {}),
        "boxes": "xyxy, half-open, in pixels of the photo turned upright as its EXIF orientation says",
        "precision": "float32",
    }
