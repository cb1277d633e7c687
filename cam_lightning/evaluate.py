"""`python -m cam_lightning.evaluate`: the test split, by a checkpoint or by a backbone with published weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """One evaluation, from its configuration to `results.json`."""
    from cam_lightning.build import build_data, build_localizer, build_method, build_trainer, network_for_data, plain
    from cam_lightning.launch.stored import inherit_from_checkpoint
    from cam_lightning.report.table import print_results
    from cam_lightning.run.checkpoint import DESCRIPTION, read_checkpoint, restore_callbacks, warn_of_other_images
    from cam_lightning.run.result import collect_results, require_every_image

    if not isinstance(config.select_threshold, bool):
        raise ValueError(f"select_threshold is true or false; got {config.select_threshold!r}")
    inherit_from_checkpoint(config, run)
    data = build_data(config)
    network = network_for_data(config, data)
    localizer = build_localizer(config, network, data.input_size)
    method = build_method(config, network, data)
    trainer = build_trainer(config, run, localizer)
    data.require_images(trainer.world_size, *(["val"] if config.select_threshold else []), "test")
    if config.select_threshold:
        if "val" not in data.examples:
            raise ValueError(
                "select_threshold=true needs images that are held out for validation, and these data have a test split "
                "alone; give training images too, or a fixed box.threshold"
            )
        trainer.validate(method, datamodule=data, verbose=False)
    elif config.checkpoint is not None:
        checkpoint = read_checkpoint(config.checkpoint)
        restore_callbacks(trainer, checkpoint)
        if checkpoint[DESCRIPTION]["config"].get("dataset") == plain(config.dataset):
            warn_of_other_images(checkpoint, data)
    trainer.test(method, datamodule=data, verbose=False)
    resolved = plain(config)
    results = collect_results(
        trainer,
        method,
        resolved,
        checkpoint=config.checkpoint or "",
        weights=config.backbone.get("weights", ""),
    )
    require_every_image(results, "test", data, resolved)
    if run.is_writer:
        run.write_json("results.json", results)
        print_results(results, run_dir=run.path)


main = entry_point("evaluate")

if __name__ == "__main__":
    main()
