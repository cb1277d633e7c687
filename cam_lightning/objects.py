"""`python -m cam_lightning.objects`: which objects tell a scene's category (Zhou et al. 2016, section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """One pass over a split, and the page of what it found."""
    from cam_lightning.build import build_data, network_for_data, on_device
    from cam_lightning.launch.stored import inherit_from_checkpoint
    from cam_lightning.localization.informative_objects import informative_objects
    from cam_lightning.report.object_page import write_objects

    inherit_from_checkpoint(config, run)
    data = build_data(config)
    network = on_device(network_for_data(config, data), config.device)
    found = informative_objects(network, data, config.split, config.threshold, config.num_images)
    print(f"{'objects':<12} {write_objects(run.path, found, config.num_objects)}")


main = entry_point("objects")

if __name__ == "__main__":
    main()
