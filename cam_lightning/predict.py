"""`python -m cam_lightning.predict`: classes and boxes of one's own photos, as overlays and `predictions.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.contracts import Recipe
    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """All photos of `config.images`, each read once; raises OSError where not one of them can be read."""
    from cam_lightning.dataset.pipeline.photo_files import find_photos

    # Before torch is loaded, so that a mistyped path is answered at once.
    paths = find_photos(_images(config))
    _require_one_of_each(config)

    from cam_lightning.build import network_for_photos
    from cam_lightning.launch.stored import inherit_from_checkpoint
    from cam_lightning.sink.photo_predictions import predict_photos

    inherit_from_checkpoint(config, run)
    network = network_for_photos(config)
    assert network.recipe is not None
    colour_map = config.colour_map if config.overlays else None
    protocol = _protocol(config, network.recipe)
    predict_photos(network, paths, run.path, protocol, batch_size=config.batch_size, colour_map=colour_map)


def _images(config: DictConfig) -> str | list[str]:
    from omegaconf import ListConfig

    if config.images is None:
        raise ValueError("nothing to look at: give images=FILE, FOLDER or GLOB, or several as images=[one,two]")
    if isinstance(config.images, ListConfig):
        return [str(image) for image in config.images]
    return str(config.images)


def _require_one_of_each(config: DictConfig) -> None:
    if config.get("further"):
        raise ValueError("predict shows one map and its boxes: give one cam and one box; `evaluate` scores several")
    weights = config.backbone.get("weights", "none")
    if config.checkpoint is None and weights == "none":
        raise ValueError(
            "no network to look with: give checkpoint=FILE, or backbone=NAME with backbone.weights=imagenet or =FILE"
        )
    if config.checkpoint is not None and weights != "none":
        raise ValueError(f"two networks: checkpoint={config.checkpoint} and backbone.weights={weights}; give one")


def _protocol(config: DictConfig, recipe: Recipe) -> dict[str, Any]:
    """How the predictions are made, for their file."""
    from cam_lightning.localization.localizer import protocol

    return {
        "checkpoint": config.checkpoint,
        "backbone": config.backbone["_target_"].rpartition(".")[2],
        "weights": None if config.checkpoint is not None else config.backbone.weights,
        "image_size": list(recipe.input_size),
        "cam": {"method": type(recipe.cam).__name__, **protocol(recipe.cam)},
        "box": protocol(recipe.box),
        "boxes": "xyxy, half-open, in pixels of the photo turned upright as its EXIF orientation says",
        "precision": "float32",
    }


main = entry_point("predict")

if __name__ == "__main__":
    main()
