"""Ranges stand beside their options, every number in every yaml has one, and nonsense meets one line."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import pytest
from omegaconf import OmegaConf

from cam_lightning.run.option import is_meta
from cam_lightning.run.place import CONF
from cam_lightning.run.range import in_range, require_ranges

ELSEWHERE = ("dataset", "experiment", "hydra", "paths")
"""Datasets check in their constructors (`dataset/pipeline/test_option.py`); the others set options of parts."""
NONSENSE = [-1, math.nan, math.inf, -math.inf, "abc"]
MAY_BE_TEXT = {"metric/threshold_curve.yaml:threshold_curve.label_free"}
"""A share, or the path of another run."""
MAY_BE_MINUS_ONE = {
    "cam/class_attention.yaml:block",
    "box/largest_component.yaml:threshold",
    *(f"trainer/default.yaml:{name}" for name in ("max_epochs", "max_steps", "num_sanity_val_steps")),
}
"""A raw map's threshold may be anything where nothing is normalised; to Lightning −1 is no bound, or all; of
blocks it is the last."""


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def options(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every option that is a number or a list of numbers, with where it is."""
    for key, value in node.items():
        if is_meta(key):
            continue
        if isinstance(value, dict):
            yield from options(value, (*place, str(key)))
        elif is_number(value) or (isinstance(value, list) and value and all(map(is_number, value))):
            yield (*place, str(key)), value


def declared() -> list[Any]:
    found = []
    for path in sorted(CONF.rglob("*.yaml")):
        if path.relative_to(CONF).parts[0] not in ELSEWHERE:
            content = by_themselves(OmegaConf.to_container(OmegaConf.load(path)))
            names = [(f"{path.relative_to(CONF)}:{'.'.join(place)}", place) for place, _ in options(content)]
            found += [pytest.param(content, place, name, id=name) for name, place in names]
    return found


def by_themselves(node: Any) -> Any:
    """What a yaml takes from elsewhere, with a value that may stand there."""
    if isinstance(node, dict):
        return {key: by_themselves(value) for key, value in node.items()}
    return (
        {"${seed}": 0, "${hit_iou}": 0.5, "${trainer.max_epochs}": 3, "???": "32-true"}.get(node, node)
        if isinstance(node, str)
        else node
    )


def changed(content: Any, place: tuple[str, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    node = content
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = [value] if isinstance(node[place[-1]], list) else value
    return content


@pytest.mark.parametrize(("content", "place", "name"), declared())
def test_every_number_of_every_yaml_refuses_nonsense(content: Any, place: tuple[str, ...], name: str) -> None:
    if content.get("defaults") and place[0] in ("learning_rate", "weight_decay") and "_ranges_" not in content:
        content = content | {"_ranges_": OmegaConf.load(CONF / "method" / "classification.yaml")["_ranges_"]}
    require_ranges(content)
    for value in NONSENSE:
        if (value == -1 and name in MAY_BE_MINUS_ONE) or (value == "abc" and name in MAY_BE_TEXT):
            require_ranges(changed(content, place, value))
            continue
        with pytest.raises(ValueError) as error:
            require_ranges(changed(content, place, value))
        said = str(error.value)
        assert re.fullmatch(rf".*{place[-1] if 'baselines' not in place else 'baselines'} is .+; got .*", said), said


def test_there_are_numbers_to_refuse() -> None:
    assert len(declared()) > 80
    assert {param.values[1][-1] for param in declared()} >= {"learning_rate", "hit_iou", "max_epochs", "centre_box"}


def test_every_declaration_is_of_an_option_and_holds_its_default() -> None:
    def check(node: Any, name: str) -> None:
        if isinstance(node, dict):
            for option in node.get("_ranges_", {}):
                assert option in node, f"{name}: {option}"
            for value in node.values():
                check(value, name)

    for path in CONF.rglob("*.yaml"):
        content = OmegaConf.to_container(OmegaConf.load(path))
        check(content, path.name)


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        ("whole, >= 1", [1, 10**9], [0, 1.0, 1.5, "1", True, None, math.nan]),
        ("> 0, <= 1", [1e-9, 1, 0.5], [0, 1.01, -1, math.nan, math.inf, "0.5", False]),
        ("whole, >= 1 or > 0, <= 1 or null", [3, 0.5, 1, None], [0, 1.5, -1, "null", True]),
        ("true or false", [True, False], ["true", "maybe", 1, 0, None]),
        ("8 or 16", [8, 16, "8"], [9, 8.5, True, None, "abc"]),
        ("32-true or bf16-mixed", ["bf16-mixed"], ["bf16-true", None, 32, True]),
    ],
)
def test_ranges_in_words(allowed: str, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not in_range(value, allowed)] == []
    assert [value for value in bad if in_range(value, allowed)] == []


def test_a_word_that_is_no_bound_is_named() -> None:
    with pytest.raises(ValueError, match="'least 3' is no bound"):
        in_range(3, "whole, least 3")


def test_values_of_lists_and_mappings_are_held_to_it() -> None:
    ranges = {"edges": "each < 1", "shares": "null or each > 0"}
    part = {"_ranges_": ranges, "edges": [0.5, [0.2]], "shares": {"a": 1, "_x_": -1}}
    require_ranges({"part": part})
    require_ranges({"part": part | {"shares": None, "edges": []}})
    for option, value in (("edges", [0.5, [2]]), ("shares", {"a": 0}), ("edges", 0), ("edges", None), ("shares", 1)):
        with pytest.raises(ValueError, match=rf"^part\.{option} is (null or )?each . \d; got (\d|None)$"):
            require_ranges({"part": part | {option: value}})


@pytest.mark.parametrize("value", [[0.5], [], {"a": 0.5}, [[0.5]]])
def test_an_option_of_one_value_takes_no_list(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^part\.hit_iou is >= 0, <= 1 or null; got [\[{]"):
        require_ranges({"part": {"_ranges_": {"hit_iou": ">= 0, <= 1 or null"}, "hit_iou": value}})


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("method.scale_learning_rate=-8", "method.scale_learning_rate is whole, >= 1 or null; got -8"),
        ("method.learning_rate=nan", "method.learning_rate is >= 0; got nan"),
        ("hit_iou=1.5", "hit_iou is >= 0, <= 1; got 1.5"),
        ("box.rectify=maybe", "box.rectify is true or false; got 'maybe'"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches is whole, >= 1 or > 0, <= 1 or null; got 0"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs is whole, >= -1 or null; got 1.5"),
        ("trainer.max_epochs=null", "trainer.max_epochs=null trains without end: give trainer.max_epochs=N, or"),
        ("callback.checkpoint.every_minutes=nan", "callback.checkpoint.every_minutes is >= 0 or null; got nan"),
        ("callback.localization.sinks.maps.splits=[tset]", "sinks.maps.splits is each val or test; got 'tset'"),
        (
            "trainer.precision=bf16-true",
            "trainer.precision is auto or 32-true or 32 or bf16-mixed or 16-mixed; got 'bf16-true'",
        ),
        ("dataset.batch_size=abc", "dataset.batch_size is a whole number of at least 1; got 'abc'"),
    ],
)
def test_a_command_ends_in_one_line_before_data_are_read(argument: str, said: str, tmp_path: Path) -> None:
    done = commands.run("train", argument, "trainer=cpu", f"run_dir={tmp_path}/run", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "data:" not in done.stderr + done.stdout
