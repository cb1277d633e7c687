"""Configurations that runs and checkpoints have stored, and what a command line may say of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from cam_lightning.launch.option import declared, has_fixed_extent
from cam_lightning.launch.range import with_own_ranges
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.earlier import upgraded_config
from cam_lightning.run.option import is_meta
from cam_lightning.run.override import key_of
from cam_lightning.run.range import require_ranges
from cam_lightning.run.trust import require_plain

log = logging.getLogger(__name__)


def resumed_config(run: RunDirectory, overrides: list[str]) -> DictConfig:
    """The configuration that the run was started with, and those of `overrides` that change no number.

    Raises ValueError for an override that would, for a finished run that is not asked for more epochs, and for a
    config.yaml that is none.
    """
    config = _read(run.path / "config.yaml")
    _move(config, str(config.run_dir), str(run.path))
    may_change = declared(config, "path", "manner", "extent")
    extent_before = {key: OmegaConf.select(config, key) for key in declared(config, "extent")}
    for override in OverridesParser.create().parse_overrides(overrides):
        key, value = override.key_or_group, override.value()
        if key in ("resume", "trust") or OmegaConf.select(config, key) == value:
            continue
        if key not in may_change:
            raise ValueError(
                f"{key} cannot be given with resume={run.path}: the run goes on with its own config.yaml. What may "
                f"change: {', '.join(may_change)}. For anything else start a new run"
            )
        OmegaConf.update(config, key, value)
    state = run.read_status().get("state")
    longer = {key: value for key, value in extent_before.items() if OmegaConf.select(config, key) != value}
    if not longer and state == "finished":
        raise ValueError(f"the run in {run.path} is finished; to train it longer, give {' or '.join(extent_before)}")
    if longer and has_fixed_extent(config):
        (key, before), *_ = longer.items()
        raise ValueError(
            f"{key} cannot change from {before} to {OmegaConf.select(config, key)} in {run.path}: its learning rate is "
            "laid out over all steps, and has fallen to nothing at the last. Start a new run, with "
            "method/schedule=step or constant where you may want to train longer"
        )
    return config


def inherit_from_checkpoint(config: DictConfig, run: RunDirectory | None = None) -> None:
    """Takes the parts that made `config.checkpoint` from it, except where the command line says otherwise.

    `config.checkpoint` is a file, or a run's directory, of which it becomes the last checkpoint; where it is None,
    nothing happens. A part chosen anew on the command line (`dataset=…`) replaces the checkpoint's, but for the images'
    size, which is the network's; a single option (`box.threshold=0.3`) changes that option of it. Maps and boxes that
    the run scored beside its own are taken too, by commands that score several, but beside a `cam` or `box` that is
    chosen anew; `further.box={}` leaves them out. What comes out is the run's config.yaml. Raises as `read_checkpoint`
    and `require_ranges` do.
    """
    from cam_lightning.run.checkpoint import DESCRIPTION, checkpoint_file, read_checkpoint

    if config.checkpoint is None:
        return
    config.checkpoint = str(checkpoint_file(Path(str(config.checkpoint)).expanduser()))
    saved = OmegaConf.create(with_own_ranges(read_checkpoint(config.checkpoint)[DESCRIPTION]["config"]))
    assigned = {key_of(override) for override in command_line() if "=" in override}
    for part in saved:
        # What is said of options that belong to no part is this command's own.
        if is_meta(part) or part not in config or part in assigned or "experiment" in assigned:
            continue
        given = {key: OmegaConf.select(config, key) for key in assigned if key.startswith(f"{part!s}.")}
        if part == "further":
            _take_further(config, saved.further, assigned)
        else:
            config[part] = saved[part]
        for key, value in given.items():
            OmegaConf.update(config, key, value, force_add=True)
    if "dataset" in assigned and "dataset" in config and not {"experiment", "dataset.image_size"} & assigned:
        config.dataset.image_size = saved.dataset.image_size
        log.info(
            "images are seen at %s, as the network was trained; dataset.image_size changes it", saved.dataset.image_size
        )
    # What came with the checkpoint has not been looked at yet, and neither has an option given for a part of it.
    require_ranges(OmegaConf.to_container(config, resolve=True))
    if run is not None:
        run.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))


def _take_further(config: DictConfig, saved: DictConfig, assigned: set[str]) -> None:
    """The further maps and boxes of a checkpoint, before those that the command line adds."""
    for group in saved:
        # A command that scores one map alone has no such group, unless its own line asks for several.
        if group in config.further and not {group, f"further.{group!s}"} & assigned:
            added = {name: part for name, part in config.further[group].items() if "_target_" in part}
            config.further[group] = {**saved[group], **added}


def command_line() -> list[str]:
    """What the command line says, as Hydra has it."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def _read(path: Path) -> DictConfig:
    """A run's config.yaml, which may be anybody's: plain, and of an earlier version brought up to this one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or "run_dir" not in content or "trainer" not in content:
        raise ValueError(f"{path} is not the configuration of a run of `train`")
    require_plain(content, str(path))
    return OmegaConf.create(with_own_ranges(upgraded_config(content)))


def _move(node: Any, old: str, new: str) -> None:
    """Paths below the run's directory are those of where it is now."""
    keys = list(node) if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        if OmegaConf.is_config(node[key]):
            _move(node[key], old, new)
        elif isinstance(node[key], str) and (node[key] == old or node[key].startswith(f"{old}/")):
            node[key] = new + node[key].removeprefix(old)
