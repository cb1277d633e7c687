"""`python -m cam_lightning.check_data`: is the dataset complete, readable, and annotated as it should be?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """One check: prints what it found, writes it to the run's directory, and fails where something is wrong."""
    from PIL import Image

    from cam_lightning.build import instantiate
    from cam_lightning.dataset.pipeline.option import seed, whole
    from cam_lightning.dataset.pipeline.worker import MOST_WORKERS
    from cam_lightning.dataset.tool.check import check
    from cam_lightning.dataset.tool.check_text import as_data, as_text
    from cam_lightning.dataset.tool.contact_sheet import sample_sheet
    from cam_lightning.functional.overlay import PNG_LEVEL
    from cam_lightning.run.progress import bar

    whole("samples", config.samples, 0)
    seed("seed", config.seed)
    if config.num_workers is not None:
        whole("num_workers", config.num_workers, 0, MOST_WORKERS)
    if not isinstance(config.deep, bool):
        raise ValueError(f"deep is true or false; got {config.deep!r}")
    # So that one broken file does not hide the others.
    config.dataset.on_bad_image = "skip"
    data = instantiate(config.dataset, list(config.trust))
    report = check(data, config.deep, bar, config.num_workers)
    run.write_json("check.json", as_data(report))
    run.write_text("check.txt", as_text(report))
    if report.found is not None and config.samples:
        sheet = sample_sheet(report.found.parts(), report.found.names, config.samples, config.seed)
        if sheet is not None:
            Image.fromarray(sheet).save(run.path / "samples.png", compress_level=PNG_LEVEL)
    print(as_text(report))
    if report.wrong:
        raise ValueError(f"found wrong with the data: {len(report.wrong):,}, and all of it is in {run.path}/check.json")


main = entry_point("check_data")

if __name__ == "__main__":
    main()
