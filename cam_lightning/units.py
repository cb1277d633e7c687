"""`python -m cam_lightning.units`: what the class-specific units of a network see (Zhou et al. 2016, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """One pass over a split, and the page of what it found."""
    from cam_lightning.build import build_data, network_for_data, on_device, plain
    from cam_lightning.launch.stored import inherit_from_checkpoint
    from cam_lightning.report.unit_page import write_units
    from cam_lightning.unit.search import search_units

    inherit_from_checkpoint(config, run)
    data = build_data(config)
    network = on_device(network_for_data(config, data), config.device)
    found = search_units(
        network, data, config.split, plain(config)["classes"], config.num_units, config.num_images, config.threshold
    )
    print(f"{'units':<12} {write_units(run.path, found)}")


main = entry_point("units")

if __name__ == "__main__":
    main()
