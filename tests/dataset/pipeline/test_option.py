"""Every numeric option of every dataset refuses what it cannot be, in one line with its name, before data are read."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from cam_lightning.build import instantiate
from cam_lightning.dataset.pipeline.option import interval, path_text, seed, share, whole
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.place import CONF

DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml") if path.stem != "default")
AUGMENTATIONS = sorted(path.stem for path in (CONF / "dataset" / "augmentation").glob("*.yaml"))
NONSENSE = [-1, -0.5, math.nan, math.inf, -math.inf, "abc", [], [1, 2, 3], True, 10**12]
NUMBERS_BY_DEFAULT_NULL = {"train_size", "images_per_class", "num_workers"}
UNBOUNDED = {
    "batch_size", "num_train", "num_test", "images_per_class", "categories", "train_per_class", "test_per_class",
    "min_captions", "negatives", "negatives_per_positive", "test_every",
}  # fmt: skip
"""A batch is never larger than the split, a million scenes are drawn when they are asked for, and of images and
categories there are as many as there are."""
MAY_BE_TRUE = {"first_pixel"}
"""true is 1, which it may be."""


def composed(dataset: str, augmentation: str = "random_crop") -> DictConfig:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("train", overrides=[f"dataset={dataset}", f"dataset/augmentation={augmentation}"])
    return config.dataset


def numeric_options() -> Iterator[Any]:
    for dataset, augmentation in [
        *((name, "random_crop") for name in DATASETS),
        *(("shapes", name) for name in AUGMENTATIONS),
    ]:
        options: dict[str, Any] = OmegaConf.to_container(composed(dataset, augmentation), resolve=True)  # type: ignore[assignment]
        flat = options | {f"augmentation.{key}": value for key, value in options["augmentation"].items()}
        for key, value in flat.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            is_list = isinstance(value, list) and value and isinstance(value[0], float)
            if is_number or is_list or key in NUMBERS_BY_DEFAULT_NULL:
                yield pytest.param(dataset, augmentation, key, id=f"{dataset}-{augmentation}-{key}")


@pytest.mark.parametrize(("dataset", "augmentation", "option"), list(numeric_options()))
def test_nonsense_is_refused_before_data_are_read(dataset: str, augmentation: str, option: str) -> None:
    whole_config = composed(dataset, augmentation)
    for value in NONSENSE:
        config = copy.deepcopy(whole_config)
        if (value is True and option in MAY_BE_TRUE) or (value == 10**12 and option in UNBOUNDED):
            continue
        OmegaConf.update(config, option, value, force_add=True)
        with pytest.raises(ValueError) as caught:
            instantiate(config)
        cause = caught.value
        assert f"dataset.{option}" in str(cause), (value, cause)
        assert "got" in str(cause)
        assert "\n" not in str(cause)


def test_there_are_options_to_refuse() -> None:
    names = {param.values[2] for param in numeric_options()}
    assert {"batch_size", "val_fraction", "image_size", "train_size", "num_workers", "seed", "images_per_class",
            "test_fraction", "split_seed", "num_train", "scene_seed", "augmentation.crop", "augmentation.area",
            "augmentation.ratio"} <= names  # fmt: skip


@pytest.mark.parametrize("dataset", DATASETS)
def test_what_the_yamls_say_is_taken(dataset: str) -> None:
    instantiate(composed(dataset))


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (lambda value: whole("o", value, 1, 9), [1, 9], [0, 10, 1.0, "1", None, False, math.nan]),
        (lambda value: seed("o", value), [0, 2**32 - 1], [-1, 2**32, 0.5, "a"]),
        (lambda value: share("o", value), [0.1, 0.999], [0, 1, -0.1, math.nan, math.inf, "0.5", None, True]),
        (lambda value: share("o", value, up_to_one=True), [1, 0.5, 1.0], [0, 1.01, math.nan]),
        (
            lambda value: interval("o", value, 1),
            [[0.3, 1.0], (1, 1)],
            [[0, 1], [0.5, 0.3], [0.5, 1.1], [0.5], 0.5, "ab"],
        ),
        (lambda value: interval("o", value), [[0.75, 100]], [[0.5, math.inf], [math.nan, 1], [True, 2], ["a", "b"]]),
        (lambda value: path_text("o", value), ["a b", 2017, "~"], [None, "", True, 1.5, ["a"]]),
    ],
)
def test_ranges(check: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(ValueError, match=r"^o .*; got "):
            check(value)
