"""What parts say of their options in their own yaml, and what a command makes of it."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from cam_lightning.launch.option import declared, has_fixed_extent, keep_paths, leave_out_what_is_off
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.place import CONF, VERSION_BASE


def composed(*overrides: str) -> object:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose("train", overrides=list(overrides))


def test_every_kind_is_found_where_the_part_is() -> None:
    config = composed("dataset=tiny_imagenet", "logger=wandb")
    assert set(declared(config, "path")) == {
        "dataset.root", "dataset.class_index", "backbone.weights", "metric.threshold_curve.label_free",
    }  # fmt: skip
    assert set(declared(config, "manner")) == {
        "dataset.num_workers",
        "method.cache_features",
        "trainer.timeout_minutes",
        "callback.checkpoint.every_minutes",
        "logger.wandb.mode",
    }
    assert declared(config, "extent") == ["trainer.max_epochs"]


def test_a_choice_brings_its_own() -> None:
    assert "dataset.cubv2" in declared(composed("dataset=cub200"), "path")
    assert "dataset.class_index" in declared(composed("dataset=cub200"), "path"), "what all datasets share stays"
    assert has_fixed_extent(composed())
    assert not has_fixed_extent(composed("method/schedule=step"))


def test_every_option_that_is_declared_exists() -> None:
    """A yaml that declares what its part has not would be silent."""
    for path in CONF.rglob("*.yaml"):
        content = OmegaConf.to_container(OmegaConf.load(path))
        nodes = [content, *(node for node in content.values() if isinstance(node, dict))]  # type: ignore[union-attr]
        for node in nodes:
            for option in node.get("_options_", {}):
                assert option in node, f"{path.name}: {option}"


def test_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="one of path, manner, extent; got 'file'"):
        declared({"part": {"_options_": {"root": "file"}, "root": 1}}, "path")


def test_inputs_are_kept_as_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the run goes on, and its checkpoint is evaluated, in any working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("data.zip", "imagenet", "one.csv"):
        Path(name).touch()
    config = OmegaConf.create(
        {
            "dataset": {
                "_options_": {"root": "path", "metadata": "path", "crops": "path"},
                "root": "data.zip",
                "metadata": "nowhere",
                "crops": ["one.csv", "two.csv"],
                "name": "data.zip",
            },
            "backbone": {"_options_": {"weights": "path"}, "weights": "imagenet"},
        }
    )
    keep_paths(config)
    assert config.dataset.root == f"{tmp_path}/data.zip"
    assert config.dataset.metadata == "nowhere"
    assert config.dataset.crops == [f"{tmp_path}/one.csv", "two.csv"]
    assert config.dataset.name == "data.zip", "an option that is no path may look like one"
    assert config.backbone.weights == "imagenet"


def test_options_of_a_metric_that_is_off_are_none() -> None:
    """As an experiment sets them for the metrics that it names, of which fewer are asked for."""
    config = composed("metric=[gt_known_error]", "+metric.threshold_curve.fixed=[0.1]", "+evaluator.road.steps=3")
    assert isinstance(config, DictConfig)
    leave_out_what_is_off(config)
    assert list(config.metric) == ["gt_known_error"]
    assert not config.evaluator
    leave_out_what_is_off(config)
    assert "_target_" in config.metric.gt_known_error
