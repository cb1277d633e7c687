"""What a checkpoint carries of a configuration, and what an evaluation takes from it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import hydra
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from cam_lightning.build import REBUILDS, build_trainer, inherit_from_checkpoint, rebuilt_from
from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.launch.entry_point import CONF, register_resolvers
from cam_lightning.logger.wandb import WandbLogger
from cam_lightning.run.directory import RunDirectory

DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml") if path.stem != "default")


def composed(*overrides: str, name: str = "train") -> DictConfig:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, overrides=list(overrides))


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_checkpoint_knows_where_every_dataset_lies(dataset: str) -> None:
    """By default below `paths`, which is this machine's and no part of the checkpoint."""
    config = composed(f"dataset={dataset}", "run_dir=/run")
    parts = rebuilt_from(config)
    assert tuple(parts) == REBUILDS
    assert parts["dataset"] == OmegaConf.to_container(config.dataset, resolve=True)
    assert "${" not in str(parts)


def test_an_evaluation_takes_the_checkpoint_s_parts_and_the_command_s_options(tmp_path: Path) -> None:
    trained = composed("dataset=tiny_imagenet", "dataset.root=/there", "box.threshold=0.5", "run_dir=/run")
    torch.save({"cam_lightning": {"config": rebuilt_from(trained)}}, tmp_path / "last.ckpt")
    overrides = [f"checkpoint={tmp_path}/last.ckpt", "+dataset.root=${paths.data}/here.zip", "dataset.batch_size=7"]
    config = composed(*overrides, "paths.data=/data", name="evaluate")
    inherit_from_checkpoint(config, overrides)
    assert config.dataset == {**trained.dataset, "root": "/data/here.zip", "batch_size": 7}
    assert config.box == trained.box


@pytest.mark.parametrize("metric", ["gt_known_error", "gt_known_error_by_size", "threshold_curve"])
def test_one_overlap_is_set_for_all_errors_and_pictures(metric: str) -> None:
    config = composed("metric.localization_error.iou_threshold=0.7", "run_dir=/run")
    assert config.metric[metric].iou_threshold == 0.7
    assert config.callback.localization.sinks.overlays.iou_threshold == 0.7
    assert composed(f"metric=[{metric}]").metric[metric].iou_threshold == 0.5


def test_pictures_of_weights_and_biases_are_made_of_what_is_localized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cam_lightning.logger.wandb.start_run", lambda *_: None)
    config = composed("logger=wandb", "trainer=cpu", f"run_dir={tmp_path}")
    trainer = build_trainer(config, RunDirectory(tmp_path), SimpleNamespace(has_cam=True))  # type: ignore[arg-type]
    (callback,) = (callback for callback in trainer.callbacks if isinstance(callback, LocalizationCallback))  # type: ignore[attr-defined]
    (logger,) = (logger for logger in trainer.loggers if isinstance(logger, WandbLogger))
    assert logger.sink in callback.sinks
