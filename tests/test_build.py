"""From a configuration to parts: what is built, what a checkpoint carries of it, and what stands side by side."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from cam_lightning.build import (
    REBUILDS,
    build_data,
    build_localizer,
    build_network,
    build_trainer,
    choice,
    instantiate,
    rebuilt_from,
)
from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.callback.times_file import TimesFile
from cam_lightning.cam.gradient_map import unmeasured
from cam_lightning.contracts import NoClassMapError
from cam_lightning.functional.post_processing import PostProcessing
from cam_lightning.launch.range import with_own_ranges
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.launch.stored import inherit_from_checkpoint
from cam_lightning.logger.wandb import WandbLogger
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE

DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml") if path.stem != "default")
FEW = ["dataset.num_train=20", "dataset.num_test=10", "dataset.image_size=64"]


def composed(*overrides: str, name: str = "train") -> DictConfig:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose(name, overrides=list(overrides))


# One part


def test_a_part_is_made_of_its_options_and_the_parts_within_it() -> None:
    node = {
        "_target_": "cam_lightning.metric.threshold_curve.ThresholdCurve",
        "box": {"_target_": "cam_lightning.box.largest_component.LargestComponent", "threshold": 0.4},
        "fixed": [0.1],
    }
    curve = instantiate(node)
    assert curve.fixed == (0.1,)
    assert curve.box.threshold == 0.4


def test_what_a_yaml_says_about_a_part_is_no_option_of_it() -> None:
    assert instantiate(choice("backbone", "squeezenet_gap"), num_classes=2).num_classes == 2
    schedule = {
        "_target_": "cam_lightning.method.schedule.one_cycle",
        "_partial_": True,
        "_fixed_extent_": True,
        "warm_up": 0.1,
    }
    assert instantiate(schedule).keywords == {"warm_up": 0.1}


def test_an_option_of_the_choice_before_is_named() -> None:
    """As where an experiment sets options of one augmentation, and the command line chooses another."""
    config = OmegaConf.create(
        {"part": {"_target_": "cam_lightning.box.largest_component.LargestComponent", "resize": 128}}
    )
    with pytest.raises(ValueError, match=r"part has no option 'resize'.*'~part.resize'"):
        instantiate(config.part)


def test_a_choice_composes_what_it_inherits() -> None:
    gmp, gap = choice("backbone", "googlenet_gmp"), choice("backbone", "googlenet_gap")
    assert {**gap, "pool": "max"} == gmp


# What a checkpoint carries


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_checkpoint_knows_where_every_dataset_lies(dataset: str) -> None:
    """By default below `paths`, which is this machine's and no part of the checkpoint."""
    config = composed(f"dataset={dataset}", "run_dir=/run")
    parts = rebuilt_from(config)
    assert tuple(parts) == REBUILDS
    assert parts["dataset"] == OmegaConf.to_container(config.dataset, resolve=True)
    assert "${" not in str(parts)


def test_an_evaluation_takes_the_checkpoint_s_parts_and_the_command_s_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = composed(
        "dataset=tiny_imagenet",
        "dataset.root=/there",
        "box.threshold=0.5",
        "method=classification_muon",
        "run_dir=/run",
    )
    torch.save({"cam_lightning": {"config": rebuilt_from(trained)}}, tmp_path / "last.ckpt")
    overrides = [f"checkpoint={tmp_path}/last.ckpt", "+dataset.root=${paths.data}/here.zip", "dataset.batch_size=7"]
    config = composed(*overrides, "paths.data=/data", name="evaluate")
    monkeypatch.setattr("cam_lightning.launch.stored.command_line", lambda: overrides)
    inherit_from_checkpoint(config)
    assert config.dataset == {**trained.dataset, "root": "/data/here.zip", "batch_size": 7}
    assert config.box == trained.box
    assert config.method == trained.method


@pytest.mark.parametrize(
    ("given", "cams", "boxes"),
    [
        ([], ["grad_cam"], ["ivr", "distance_transform"]),
        (["box.threshold=0.3"], ["grad_cam"], ["ivr", "distance_transform"]),
        (["+further.box.ivr.threshold=0.3"], ["grad_cam"], ["ivr", "distance_transform"]),
        (["box=largest_component"], ["grad_cam"], []),
        (["cam=cam", "+cam@further.cam.random=random"], ["random"], ["ivr", "distance_transform"]),
        (["+box@further.box.all=all_components"], ["grad_cam"], ["ivr", "distance_transform", "all"]),
        (["further.box={}"], ["grad_cam"], []),
    ],
    ids=["all", "an option", "an option of a further one", "another box", "other maps", "one more", "without"],
)
def test_an_evaluation_scores_what_the_run_scored_beside_its_own(
    given: list[str], cams: list[str], boxes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = composed(
        "+cam@further.cam.grad_cam=grad_cam", "+box@further.box.ivr=largest_component_ivr", "hit_iou=0.3",
        "+box@further.box.distance_transform=distance_transform", "further.box.ivr.threshold=0.7", "run_dir=/run",
    )  # fmt: skip
    torch.save({"cam_lightning": {"config": rebuilt_from(trained)}}, tmp_path / "last.ckpt")
    overrides = [f"checkpoint={tmp_path}/last.ckpt", *given]
    config = composed(*overrides, name="evaluate")
    monkeypatch.setattr("cam_lightning.launch.stored.command_line", lambda: overrides)
    inherit_from_checkpoint(config)
    assert (list(config.further.cam), list(config.further.box)) == (cams, boxes)
    assert config.hit_iou == 0.3, "else the errors would have the run's names and be others"
    if "ivr" in boxes:
        expected = 0.3 if "+further.box.ivr.threshold=0.3" in given else 0.7
        assert config.further.box.ivr == {**trained.further.box.ivr, "threshold": expected}


@pytest.mark.parametrize("name", ["predict", "explain", "units"])
def test_commands_of_one_map_take_no_further_ones(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = composed("+box@further.box.ivr=largest_component_ivr", "run_dir=/run")
    torch.save({"cam_lightning": {"config": rebuilt_from(trained)}}, tmp_path / "last.ckpt")
    overrides = [f"checkpoint={tmp_path}/last.ckpt"]
    several = ["cam=cam", "+cam@further.cam.grad_cam=grad_cam"] if name == "predict" else []
    for given in ([], several):
        config = composed(*overrides, *given, name=name)
        monkeypatch.setattr("cam_lightning.launch.stored.command_line", lambda given=given: [*overrides, *given])
        inherit_from_checkpoint(config)
        assert config.get("further", {}) == ({"cam": {"grad_cam": choice("cam", "grad_cam")}} if given else {})


@pytest.mark.parametrize(
    ("group", "option", "value", "given", "says"),
    [
        ("box", "threshold", float("nan"), [], r"box\.threshold is >= -1e38, <= 1e38; got nan"),
        ("method", "learning_rate", -1.0, [], r"method\.learning_rate is >= 0.*; got -1\.0"),
        ("box", "threshold", 0.2, ["box.threshold=inf"], r"box\.threshold is >= -1e38, <= 1e38; got inf"),
    ],
)
def test_what_a_checkpoint_brings_is_in_its_ranges_too(
    group: str, option: str, value: Any, given: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = rebuilt_from(composed("run_dir=/run"))
    parts[group][option] = value
    torch.save({"cam_lightning": {"config": parts}}, tmp_path / "last.ckpt")
    overrides = [f"checkpoint={tmp_path}/last.ckpt", *given]
    config = composed(*overrides, name="evaluate")
    monkeypatch.setattr("cam_lightning.launch.stored.command_line", lambda: overrides)
    with pytest.raises(ValueError, match=says):
        inherit_from_checkpoint(config)


@pytest.mark.parametrize(
    ("ranges", "value", "says"),
    [
        ({"threshold": ">= -100"}, float("nan"), r"box\.threshold is >= -1e38, <= 1e38; got nan"),
        ({}, "wide", r"box\.threshold is >= -1e38, <= 1e38; got 'wide'"),
        ({"threshold": "whole, >= 5"}, 0.25, None),
        ({"threshold": "no words of ours"}, 0.25, None),
    ],
)
def test_a_checkpoint_does_not_say_what_its_own_options_may_be(
    ranges: dict[str, str], value: Any, says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an earlier version would refuse what is allowed now, and anybody's would allow anything."""
    parts = rebuilt_from(composed("run_dir=/run")) | {"_ranges_": {"seed": "any", "hit_iou": "any"}}
    parts["box"] |= {"threshold": value, "_ranges_": ranges}
    torch.save({"cam_lightning": {"config": parts}}, tmp_path / "last.ckpt")
    overrides = [f"checkpoint={tmp_path}/last.ckpt"]
    config = composed(*overrides, name="evaluate")
    of_command = dict(config._ranges_)
    monkeypatch.setattr("cam_lightning.launch.stored.command_line", lambda: overrides)
    with pytest.raises(ValueError, match=says) if says else contextlib.nullcontext():
        inherit_from_checkpoint(config)
    assert dict(config._ranges_) == of_command
    if says is None:
        assert config.box.threshold == value
        assert config.box._ranges_ == composed("run_dir=/run").box._ranges_


def test_stored_parts_get_the_ranges_of_what_their_yamls_compose_to() -> None:
    """Bases included; a part of another package keeps its own, and what builds nothing has none."""
    config = composed("method=acol", "backbone=googlenet_gmp", "trainer=gpu", "run_dir=/run")
    plain: Any = OmegaConf.to_container(config, resolve=False)
    stored = copy.deepcopy(plain)
    stored["method"]["_ranges_"] = stored["trainer"]["_ranges_"] = {"learning_rate": "any"}
    del stored["backbone"]["_ranges_"]
    stored["paths"]["_ranges_"] = {"runs": "path"}
    theirs = {"_target_": "theirs.Net", "_ranges_": {"size": "any"}, "part": dict(stored["box"], _ranges_={})}
    found = with_own_ranges(stored | {"theirs": theirs})
    assert found.pop("theirs") == theirs | {"part": plain["box"]}
    assert found == plain
    assert "units" in found["backbone"]["_ranges_"]


# What stands side by side


@pytest.mark.parametrize("metric", ["localization_error", "gt_known_error", "gt_known_error_by_size", "threshold_curve",
                                    "max_box_accuracy"])  # fmt: skip
def test_one_overlap_is_set_for_all_errors_and_pictures(metric: str) -> None:
    config = composed("hit_iou=0.7", f"metric=[{metric}]", "logger=wandb", "run_dir=/run")
    assert config.metric[metric].iou_threshold == 0.7
    assert config.callback.localization.sinks.overlays.iou_threshold == 0.7
    assert config.logger.wandb.iou_threshold == 0.7


@pytest.mark.parametrize("part", ["metric.gt_known_error", "evaluator.randomized_weights", "logger.wandb"])
def test_another_overlap_beside_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr("cam_lightning.logger.wandb.start_run", lambda *_: None)
    chosen = [] if part.startswith("metric") else ["=".join(part.split("."))]
    config = composed(*chosen, f"{part}.iou_threshold=0.3", "trainer=cpu", f"run_dir={tmp_path}", *FEW)
    localizer = build_localizer(config, build_network(config, 3), (64, 64))
    with pytest.raises(ValueError, match=rf"hit_iou=0.5, and .*{part}.iou_threshold.: 0.3"):
        build_trainer(config, RunDirectory(tmp_path), localizer)


def test_pictures_of_weights_and_biases_are_made_of_what_is_localized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cam_lightning.logger.wandb.start_run", lambda *_: None)
    config = composed("logger=wandb", "trainer=cpu", f"run_dir={tmp_path}")
    localizer = build_localizer(config, build_network(config, 3), (64, 64))
    trainer = build_trainer(config, RunDirectory(tmp_path), localizer)
    (callback,) = (callback for callback in trainer.callbacks if isinstance(callback, LocalizationCallback))  # type: ignore[attr-defined]
    (logger,) = (logger for logger in trainer.loggers if isinstance(logger, WandbLogger))
    assert logger.sink in callback.sinks


def test_several_maps_and_boxes_make_an_arm_each(tmp_path: Path) -> None:
    config = composed(
        "+cam@further.cam.other=cam", "+box@further.box.distance_transform=distance_transform", "trainer=cpu",
        f"run_dir={tmp_path}",
    )  # fmt: skip
    localizer = build_localizer(config, build_network(config, 3), (64, 64))
    assert localizer is not None
    assert list(localizer.arms) == ["", "distance_transform", "other", "other/distance_transform"]
    trainer = build_trainer(config, RunDirectory(tmp_path), localizer)
    (callback,) = (callback for callback in trainer.callbacks if isinstance(callback, LocalizationCallback))  # type: ignore[attr-defined]
    for name, (_, box) in localizer.arms.items():
        curve = callback.arms[name].metrics["threshold_curve"]
        # A box generator without thresholds has no curve, and each other sweeps its own.
        assert (curve.box is None) == (type(localizer.boxes[box]).__name__ == "DistanceTransform")
    assert len({id(arm.metrics["gt_known_error"]) for arm in callback.arms.values()}) == 4


def test_what_normalises_maps_itself_does_so_as_the_further_box_generator_does(tmp_path: Path) -> None:
    config = composed(
        "+box@further.box.ivr=largest_component_ivr", "metric=[gt_known_error,threshold_curve,max_box_accuracy]",
        "trainer=cpu", f"run_dir={tmp_path}",
    )  # fmt: skip
    localizer = build_localizer(config, build_network(config, 3), (64, 64))
    trainer = build_trainer(config, RunDirectory(tmp_path), localizer)
    (callback,) = (callback for callback in trainer.callbacks if isinstance(callback, LocalizationCallback))  # type: ignore[attr-defined]
    rules = {name: arm.metrics["max_box_accuracy"].rule for name, arm in callback.arms.items()}
    assert {name: (rule.normalise, rule.percentile) for name, rule in rules.items()} == {
        "": ("minmax", None),
        "ivr": ("ivr", 0.6),
    }
    assert callback.arms["ivr"].metrics["threshold_curve"].box.rule.normalise == "ivr"


def test_it_does_so_of_every_option_that_both_generators_have(tmp_path: Path) -> None:
    """Of another kind of generator too; what neither changes stays the metric's own."""
    config = composed(
        "+box@further.box.positive=largest_component", "further.box.positive.rectify=true",
        "+box@further.box.all_ivr=all_components", "further.box.all_ivr.normalise=ivr",
        "further.box.all_ivr.upsample=nearest", "+box@further.box.released=distance_transform",
        "+box@further.box.raw=largest_component", "further.box.raw.normalise=none",
        "metric=[gt_known_error,max_box_accuracy]", "trainer=cpu", f"run_dir={tmp_path}",
    )  # fmt: skip
    localizer = build_localizer(config, build_network(config, 3), (64, 64))
    trainer = build_trainer(config, RunDirectory(tmp_path), localizer)
    (callback,) = (callback for callback in trainer.callbacks if isinstance(callback, LocalizationCallback))  # type: ignore[attr-defined]
    rules = {name: arm.metrics["max_box_accuracy"].rule for name, arm in callback.arms.items()}
    assert rules == {
        "": PostProcessing(normalise="minmax"),
        "positive": PostProcessing(normalise="minmax", rectify=True),
        "all_ivr": PostProcessing("nearest", normalise="ivr"),
        "released": PostProcessing(normalise="minmax"),
        "raw": PostProcessing(normalise="minmax"),
    }


@pytest.mark.parametrize("further", [[], ["+box@further.box.distance_transform=distance_transform"]])
def test_one_map_is_not_timed(tmp_path: Path, further: list[str]) -> None:
    config = composed(*further, "trainer=cpu", f"run_dir={tmp_path}")
    localizer = build_localizer(config, build_network(config, 3), (64, 64))
    assert localizer is not None
    trainer = build_trainer(config, RunDirectory(tmp_path), localizer)
    assert not any(isinstance(callback, TimesFile) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    assert localizer.measure is unmeasured


def test_several_maps_are_timed_by_what_hears_of_a_forward_s_end_before_they_are_made(tmp_path: Path) -> None:
    config = composed("+cam@further.cam.other=cam", "trainer=cpu", f"run_dir={tmp_path}")
    localizer = build_localizer(config, build_network(config, 3), (64, 64))
    assert localizer is not None
    trainer = build_trainer(config, RunDirectory(tmp_path), localizer)
    kinds = [type(callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]
    assert kinds.index(TimesFile) < kinds.index(LocalizationCallback)
    (times,) = (callback.times for callback in trainer.callbacks if isinstance(callback, TimesFile))  # type: ignore[attr-defined]
    assert localizer.measure == times.measured


# A network without a map


def test_a_network_without_a_map_only_classifies_unless_the_map_is_asked_for_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = ["backbone=alexnet", "trainer=cpu", f"run_dir={tmp_path}", *FEW]
    config = composed(*few)
    network = build_network(config, build_data(config).num_classes)
    assert build_localizer(config, network, (64, 64)) is None
    assert "localization is left out: FullyConnectedNetwork has no class activation map" in caplog.text
    trainer = build_trainer(config, RunDirectory(tmp_path), None)
    assert not any(isinstance(callback, LocalizationCallback) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    with pytest.raises(NoClassMapError, match="_gap"):
        build_localizer(composed(*few, "cam=cam"), network, (64, 64))
