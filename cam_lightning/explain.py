"""`python -m cam_lightning.explain`: why is my heat map wrong? Predicted against expected class of one's own photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """All photos of `config.images`: `explanations.html` and `explanations.json`; OSError where none can be read."""
    from cam_lightning.dataset.pipeline.photo_files import find_photos
    from cam_lightning.launch.photos import protocol, require_one_map, require_one_network, wanted_images

    # Before torch is loaded, so that a mistyped path is answered at once.
    paths = find_photos(wanted_images(config))
    require_one_map(config, "explain")
    require_one_network(config)

    from cam_lightning.build import network_for_photos
    from cam_lightning.dataset.format.expectation import Expectations
    from cam_lightning.launch.stored import inherit_from_checkpoint
    from cam_lightning.localization.explanation import Explainer
    from cam_lightning.report.explanation import explain_photos

    inherit_from_checkpoint(config, run)
    network = network_for_photos(config)
    recipe = network.recipe
    assert recipe is not None
    expectations = Expectations(recipe.class_names, config.expected, config.truth)
    explainer = Explainer(network, recipe, config.hit_iou, config.seed)
    told = {**protocol(config, recipe), "unit": explainer.unit or "not said", "hit_iou": config.hit_iou}
    explain_photos(explainer, expectations, paths, run.path, told)


main = entry_point("explain")

if __name__ == "__main__":
    main()
