"""What parts declare of their options, in plain containers and in composed configurations alike."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from cam_lightning.launch import option as composed
from cam_lightning.run.earlier import upgraded_config
from cam_lightning.run.option import declared, has_fixed_extent, is_meta

CONFIG: dict[str, Any] = {
    "run_dir": "/r",
    "dataset": {
        "_options_": {"num_workers": "manner", "root": "path", "absent": "path"},
        "num_workers": 4,
        "root": "/d",
        "size": "${run_dir}",
    },
    "logger": {"wandb": {"_options_": {"mode": "manner"}, "mode": "offline"}},
    "trainer": {"_options_": {"max_epochs": "extent"}, "max_epochs": 3},
    "sinks": [1, 2],
}


def test_options_are_found_by_kind_wherever_their_part_is() -> None:
    assert declared(CONFIG, "manner") == ["dataset.num_workers", "logger.wandb.mode"]
    assert declared(CONFIG, "path", "extent") == ["dataset.root", "trainer.max_epochs"]
    assert declared({}, "path") == []


def test_a_composed_configuration_says_the_same() -> None:
    config = OmegaConf.create(CONFIG)
    for kinds in (("manner",), ("path", "extent")):
        assert composed.declared(config, *kinds) == declared(CONFIG, *kinds)
    config["missing"] = {"_options_": {"x": "path"}, "x": "???"}
    config["link"] = "${dataset}"
    assert composed.declared(config, "path") == ["dataset.root", "missing.x"], "a link's part is met where it is"


def test_a_kind_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match=r"dataset\._options_\.x is one of path, manner, extent; got 'manners'"):
        declared({"dataset": {"_options_": {"x": "manners"}, "x": 1}}, "manner")


def test_a_fixed_extent_anywhere_counts() -> None:
    assert not has_fixed_extent(CONFIG)
    assert has_fixed_extent({**CONFIG, "method": {"schedule": {"_fixed_extent_": True}}})


def test_keys_that_speak_of_their_part_are_no_options() -> None:
    assert [key for key in ("_target_", "_options_", "_fixed_extent_", "_x", "size_", "__", 3) if is_meta(key)] == [
        "_target_", "_options_", "_fixed_extent_",
    ]  # fmt: skip


def test_earlier_configurations_are_given_the_declarations() -> None:
    earlier = {"dataset": {"num_workers": 2}, "trainer": {"timeout_minutes": None}, "logger": {"wandb": {"mode": "x"}}}
    assert declared(upgraded_config(earlier), "manner") == [
        "dataset.num_workers", "trainer.timeout_minutes", "logger.wandb.mode",
    ]  # fmt: skip
