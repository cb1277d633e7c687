"""`python -m cam_lightning.predict`: classes and boxes of one's own photos, as overlays and `predictions.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """All photos of `config.images`, each read once; raises OSError where not one of them can be read."""
    from cam_lightning.dataset.pipeline.photo_files import find_photos
    from cam_lightning.launch.photos import protocol, require_one_network, wanted_images

    # Before torch is loaded, so that a mistyped path is answered at once.
    paths = find_photos(wanted_images(config))
    require_one_network(config)
    _require_options(config)

    from cam_lightning.build import network_for_photos
    from cam_lightning.launch.stored import inherit_from_checkpoint
    from cam_lightning.sink.photo_predictions import predict_photos

    inherit_from_checkpoint(config, run)
    network = network_for_photos(config)
    assert network.recipe is not None
    colour_map = config.colour_map if config.overlays else None
    told = protocol(config, network.recipe)
    predict_photos(network, paths, run.path, told, batch_size=config.batch_size, colour_map=colour_map)


def _require_options(config: DictConfig) -> None:
    """Raises ValueError, before torch is loaded, for options of the command itself that cannot be."""
    from cam_lightning.dataset.pipeline.option import whole

    whole("batch_size", config.batch_size, 1)
    if not isinstance(config.overlays, bool):
        raise ValueError(f"overlays is true or false; got {config.overlays!r}")
    if config.image_size is not None and not config.image_size:
        raise ValueError(f"image_size is SIZE or [HEIGHT, WIDTH]; got {config.image_size}")


main = entry_point("predict")

if __name__ == "__main__":
    main()
