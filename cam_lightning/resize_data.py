"""`python -m cam_lightning.resize_data`: a smaller copy of a dataset, which loads faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """One copy; says at the end how it is read."""
    import logging
    import shlex
    from pathlib import Path

    from cam_lightning.build import instantiate
    from cam_lightning.dataset.pipeline.option import whole
    from cam_lightning.dataset.pipeline.worker import MOST_WORKERS
    from cam_lightning.dataset.tool.resize import resize
    from cam_lightning.run.progress import bar

    if config.to is None:
        raise ValueError("resize_data needs to=FOLDER, which is empty or absent or holds the beginning of this copy")
    whole("short_side", config.short_side, 1)
    whole("quality", config.quality, 1, 95)
    if config.num_workers is not None:
        whole("num_workers", config.num_workers, 0, MOST_WORKERS)
    to = Path(str(config.to)).expanduser().absolute()
    data = instantiate(config.dataset, list(config.trust))
    result = resize(data, to, config.short_side, config.quality, bar, config.num_workers)
    log = logging.getLogger(__name__)
    for fault in result.faults:
        log.warning("left out: %s", fault)
    run.write_json(
        "results.json",
        {
            "num_images": result.num_images,
            "num_boxes": result.num_boxes,
            "num_skipped_images": len(result.faults),
            "protocol/skipped_images": result.faults,
        },
    )
    print(f"{result.num_images:,} images and {result.num_boxes:,} boxes are in {to}; {len(result.faults):,} left out")
    kind = "csv" if result.num_boxes else "none"
    print(f"read them with: dataset=folder {shlex.quote(f'dataset.root={to}')} dataset.format={kind}")


main = entry_point("resize_data")

if __name__ == "__main__":
    main()
