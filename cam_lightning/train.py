"""`python -m cam_lightning.train`: train on image labels, localize at every validation, test once at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory


def run(config: DictConfig, run: RunDirectory) -> None:
    """One training run, from its configuration to `results.json`."""
    from omegaconf import OmegaConf

    from cam_lightning.build import build_data, build_localizer, build_method, build_network, build_trainer, plain
    from cam_lightning.report.table import print_results
    from cam_lightning.run.checkpoint import newest_checkpoint, read_checkpoint, require_same_data, rewind
    from cam_lightning.run.result import collect_results, require_every_image

    beside = list(OmegaConf.select(config, "callback.checkpoint.beside") or ())
    if config.test_checkpoint not in ("last", "best", *beside):
        also = f", or one of callback.checkpoint.beside ({', '.join(beside)})" if beside else ""
        raise ValueError(f"test_checkpoint is last or best{also}; got {config.test_checkpoint!r}")
    tests_best = config.test_checkpoint != "last" and not config.trainer.fast_dev_run
    if config.test_checkpoint == "best" and tests_best and not OmegaConf.select(config, "callback.checkpoint.monitor"):
        raise ValueError("test_checkpoint=best needs callback.checkpoint.monitor, the number that says which is best")
    if tests_best:
        _require_a_validation(config)
    _require_an_end(config)
    _warn(config)
    data = build_data(config)
    network = build_network(config, data.num_classes)
    localizer = build_localizer(config, network, data.input_size)
    method = build_method(config, network, data)
    trainer = build_trainer(config, run, localizer)
    _keep_precision(config, run, str(trainer.precision))
    validates = config.trainer.limit_val_batches != 0
    data.require_images(trainer.world_size, "train", *(["val"] if validates else []), "test")
    found = newest_checkpoint(run) if run.is_resumed else None
    if found is not None:
        require_same_data(found[1], data)
    if run.is_resumed:
        rewind(trainer, data, found[1] if found else None)
    trainer.fit(method, datamodule=data, ckpt_path=found[0] if found else None, weights_only=True)
    epochs, steps = trainer.current_epoch, trainer.global_step
    best_path: str | None = None
    if tests_best:
        best_path = str(run.path / "checkpoints" / f"{config.test_checkpoint}.ckpt")
        best = read_checkpoint(best_path)
        # Of epochs, the one that was being validated was still the current one.
        epochs, steps = best["epoch"] + 1, best["global_step"]
    trainer.test(method, datamodule=data, ckpt_path=best_path, weights_only=True, verbose=False)
    resolved = plain(config)
    further = {"test_checkpoint": config.test_checkpoint, "epochs": epochs, "steps": steps}
    kept = getattr(trainer.checkpoint_callback, "kept", {})
    results = collect_results(trainer, method, resolved, **further, **({"kept": kept} if kept else {}))
    require_every_image(results, "test", data, resolved)
    if run.is_writer:
        run.write_json("results.json", results)
        print_results(results, run_dir=run.path)


def _keep_precision(config: DictConfig, run: RunDirectory, chosen: str) -> None:
    """Writes what `trainer.precision=auto` has chosen: a run that is resumed goes on as it began."""
    from omegaconf import OmegaConf

    if config.trainer.precision == "auto":
        config.trainer.precision = chosen
        run.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))


def _require_an_end(config: DictConfig) -> None:
    """Raises ValueError where neither epochs nor steps end the training."""
    trainer = config.trainer
    if trainer.max_epochs in (None, -1) and trainer.max_steps == -1 and not trainer.fast_dev_run:
        raise ValueError(
            f"trainer.max_epochs={'null' if trainer.max_epochs is None else -1} trains without end: give "
            "trainer.max_epochs=N, or trainer.max_steps=N beside it"
        )


def _require_a_validation(config: DictConfig) -> None:
    """Raises ValueError where no epoch of the training is validated, so that none could be the best."""
    trainer = config.trainer
    every, epochs = trainer.check_val_every_n_epoch, trainer.max_epochs
    if trainer.limit_val_batches == 0 or (every is not None and epochs is not None and 0 <= epochs < every):
        raise ValueError(
            f"test_checkpoint={config.test_checkpoint} needs a validation, and there is none with "
            f"trainer.limit_val_batches={trainer.limit_val_batches}, trainer.max_epochs={epochs} and "
            f"trainer.check_val_every_n_epoch={every}. Validate, or take test_checkpoint=last"
        )


def _warn(config: DictConfig) -> None:
    """Of settings that are allowed, and that few would mean."""
    import logging

    log = logging.getLogger(__name__)
    if config.backbone.get("weights") == "none" and config.method.learning_rate <= 1e-3:
        log.warning(
            "method.learning_rate=%g is the paper's rate for fine-tuning, and backbone.weights=none starts from "
            "random weights: expect it to learn very slowly. Give backbone.weights, or a rate near 0.05.",
            config.method.learning_rate,
        )
    every, epochs = config.trainer.check_val_every_n_epoch, config.trainer.max_epochs
    validates = config.trainer.limit_val_batches != 0
    if validates and every is not None and epochs is not None and epochs > every and epochs % every:
        log.warning(
            "trainer.check_val_every_n_epoch=%d does not divide trainer.max_epochs=%d: no validation follows the last "
            "%d epoch(s), and the @selected thresholds are those of the network before.",
            every,
            epochs,
            epochs % every,
        )


main = entry_point("train")

if __name__ == "__main__":
    main()
