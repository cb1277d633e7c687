"""`resume=RUN`: going on in place with a run that was cut off, as if nothing had happened."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from cam_lightning.report.run_record import CHANGE_NO_NUMBER
from cam_lightning.run.directory import RunDirectory

if TYPE_CHECKING:
    from lightning import Trainer

    from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule

log = logging.getLogger(__name__)

MAY_CHANGE = ("trainer.max_epochs", "dataset.root", *CHANGE_NO_NUMBER)
"""What a run may go on with another value of: nothing that changes a number of the epochs asked for before."""
LAID_OUT_OVER_ALL_STEPS = ("cam_lightning.method.schedule.one_cycle",)


def stored_config(run: RunDirectory, overrides: list[str]) -> DictConfig:
    """The configuration that the run was started with, and those of `overrides` that change no number.

    Raises ValueError for an override that would, and for a finished run that is not asked for more epochs.
    """
    config = OmegaConf.load(run.path / "config.yaml")
    assert isinstance(config, DictConfig)
    _move(config, str(config.run_dir), str(run.path))
    epochs = config.trainer.max_epochs
    for override in OverridesParser.create().parse_overrides(overrides):
        key, value = override.key_or_group, override.value()
        if key == "resume" or OmegaConf.select(config, key) == value:
            continue
        if key not in MAY_CHANGE or OmegaConf.select(config, key, default="absent") == "absent":
            raise ValueError(
                f"{key} cannot be given with resume={run.path}: the run goes on with its own config.yaml. What may "
                f"change: {', '.join(MAY_CHANGE)}. For anything else start a new run"
            )
        OmegaConf.update(config, key, value)
    state = json.loads((run.path / "status.json").read_text(encoding="utf-8") or "{}").get("state")
    if config.trainer.max_epochs == epochs:
        if state == "finished":
            raise ValueError(f"the run in {run.path} is finished; to train it longer, give trainer.max_epochs")
    elif OmegaConf.select(config, "method.schedule._target_") in LAID_OUT_OVER_ALL_STEPS:
        raise ValueError(
            f"trainer.max_epochs cannot change from {epochs} to {config.trainer.max_epochs} in {run.path}: its "
            "learning rate is laid out over all steps, and has fallen to nothing at the last. Start a new run, with "
            "method/schedule=step or constant where you may want to train longer"
        )
    return config


def _move(node: Any, old: str, new: str) -> None:
    """Paths below the run's directory are those of where it is now."""
    keys = list(node) if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        if OmegaConf.is_config(node[key]):
            _move(node[key], old, new)
        elif isinstance(node[key], str) and (node[key] == old or node[key].startswith(f"{old}/")):
            node[key] = new + node[key].removeprefix(old)


def newest_checkpoint(run: RunDirectory) -> tuple[Path, dict[str, Any]] | None:
    """The last checkpoint that can be read, with its content; None where none was written before the run ended.

    Says so where it is not the last one. Raises ValueError where there are some and none can be read.
    """
    from cam_lightning.build import read_checkpoint
    from cam_lightning.callback.checkpoint import LAST, PREVIOUS

    unreadable = []
    for path in (run.path / "checkpoints" / LAST, run.path / "checkpoints" / PREVIOUS):
        if not path.is_file():
            continue
        try:
            content = read_checkpoint(str(path))
        except ValueError as error:
            log.warning("%s", error)
            unreadable.append(path.name)
            continue
        position = content["position"]
        where = "" if path.name == LAST else f", the checkpoint before the last (which is {_damage(unreadable)})"
        log.info(
            "going on from %s%s: epoch %d, batch %d, step %d",
            path,
            where,
            position["epoch"],
            position["batch"],
            position["step"],
        )
        return path, content
    if unreadable:
        raise ValueError(f"no checkpoint of {run.path} can be read ({', '.join(unreadable)}): start a new run")
    log.info("%s has no checkpoint yet: starting from the beginning", run.path)
    return None


def _damage(unreadable: list[str]) -> str:
    return "damaged" if unreadable else "missing"


def rewind(trainer: Trainer, data: LocalizationDataModule, content: dict[str, Any] | None) -> None:
    """Puts the data and the loggers where the checkpoint `content` left them, or at the beginning where it is None."""
    from cam_lightning.callback.checkpoint import Rewindable

    position: dict[str, Any] = content["position"] if content is not None else {"epoch": 0, "batch": 0, "loggers": {}}
    data.resumed_at = (position["epoch"], position["batch"])
    for logger in trainer.loggers:
        if isinstance(logger, Rewindable):
            logger.rewind(position["loggers"].get(type(logger).__name__, 0))
