"""Declared options (`run/option.py`) of a configuration that Hydra has composed."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from cam_lightning.run import option


def declared(config: Any, *kinds: str) -> list[str]:
    """As `run.option.declared`."""
    return option.declared(_plain(config), *kinds)


def has_fixed_extent(config: Any) -> bool:
    """As `run.option.has_fixed_extent`."""
    return option.has_fixed_extent(_plain(config))


def _plain(config: Any) -> Any:
    """As written: what an interpolation stands for is met where it is."""
    return OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config


def keep_paths(config: DictConfig) -> None:
    """Makes what lies below the working directory absolute, so that a run can be gone on with from any other."""
    for key in declared(config, "path"):
        value = OmegaConf.select(config, key)
        if isinstance(value, str):
            OmegaConf.update(config, key, _absolute(value))
        elif OmegaConf.is_list(value):
            OmegaConf.update(config, key, [_absolute(each) for each in value])


def leave_out_what_is_off(config: DictConfig) -> None:
    """Takes away options of metrics and evaluators that are not on: an experiment sets some for those that it names,
    and the command line may have chosen others (`metric=[gt_known_error]`).
    """
    for group in ("metric", "evaluator"):
        parts = config.get(group) or {}
        with open_dict(config):
            for name in [name for name, part in parts.items() if "_target_" not in part]:
                del parts[name]


def _absolute(value: Any) -> Any:
    if not isinstance(value, str) or value in ("none", "imagenet"):
        return value
    path = os.path.expanduser(value)
    return os.path.abspath(path) if os.path.exists(path) else value
