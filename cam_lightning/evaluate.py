"""`python -m cam_lightning.evaluate`: the test split, by a checkpoint or by a backbone with published weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """One evaluation, from its configuration to `results.json`."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from cam_lightning.build import (
        build_data,
        build_method,
        build_trainer,
        checkpoint_file,
        collect_results,
        inherit_from_checkpoint,
        load_checkpoint,
        network_with_weights,
        require_every_image,
        restore_selected_thresholds,
    )
    from cam_lightning.report.table import print_results

    if config.checkpoint is None and config.backbone.get("weights") == "none":
        raise ValueError("nothing to evaluate: give checkpoint=FILE, or backbone.weights=imagenet or =FILE")
    if config.checkpoint is not None:
        config.checkpoint = str(checkpoint_file(Path(config.checkpoint).expanduser()))
        inherit_from_checkpoint(config, list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else [])
        run.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))
    data = build_data(config)
    if config.checkpoint is not None:
        network = load_checkpoint(config, data)
    else:
        network = network_with_weights(config, data)
    method = build_method(config, network, data.class_names)
    trainer = build_trainer(config, run, network)
    if config.select_threshold:
        if "val" not in data.examples:
            raise ValueError(
                "select_threshold=true needs images that are held out for validation, and these data have a test split "
                "alone; give training images too, or a fixed box.threshold"
            )
        trainer.validate(method, datamodule=data, verbose=False)
    elif config.checkpoint is not None:
        restore_selected_thresholds(trainer, config.checkpoint)
    trainer.test(method, datamodule=data, verbose=False)
    results = collect_results(
        trainer,
        method,
        config,
        checkpoint=config.checkpoint or "",
        weights=config.backbone.get("weights", ""),
    )
    require_every_image(results, "test", data, config)
    if run.is_writer:
        run.write_json("results.json", results)
        print_results(results)


main = entry_point("evaluate")

if __name__ == "__main__":
    main()
