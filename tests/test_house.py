"""The rules of the house: who may import whom, and what every yaml owes its reader."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from toy_localization import plain_localizer
from toy_network import ToyGap

from cam_lightning.build import instantiate, plain
from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.metric.gt_known_error import GtKnownError
from cam_lightning.run.place import CONF, PACKAGE, VERSION_BASE

FLOOR = {
    **dict.fromkeys(("functional", "run"), 0),
    **dict.fromkeys(("backbone", "cam", "box", "metric", "dataset", "classifier"), 1),
    **dict.fromkeys(("localization", "method", "evaluator", "feature", "unit"), 2),
    **dict.fromkeys(("callback", "sink", "logger", "report"), 3),
    **dict.fromkeys(("build", "sweep"), 4),
    **dict.fromkeys(("launch", "api"), 5),
}
"""Rooms, and the two modules beside them that are no commands. All other modules at the top are commands, above."""
COMMANDS = {
    path.stem for path in PACKAGE.glob("*.py") if path.stem not in FLOOR and path.stem not in ("__init__", "contracts")
}
"""Each composes a configuration and makes one call."""
READERS_OF_HYDRA = {"build", "sweep", "launch", "api", *COMMANDS}
LIBRARIES_LEFT_OUT = {
    room: (set() if room in READERS_OF_HYDRA else {"hydra", "omegaconf"})
    | ({"lightning", "pytorch_lightning", "torchmetrics"} if room == "functional" else set())
    for room in (*FLOOR, *COMMANDS)
}
FILES = sorted(PACKAGE.rglob("*.py"))
PARTS = ("dataset", "backbone", "method", "cam", "box", "metric", "evaluator", "callback", "classifier")
"""Our own parts: each yaml instantiates."""
CALLED = ("backbone", "cam", "box", "metric", "evaluator", "classifier")
"""Parts that are functions, or objects to be called."""
CHOICES = ("trainer", "logger", "paths", "experiment")
"""Third-party and machine choices: each yaml composes."""
NESTING = ("metric", "evaluator", "callback", "logger")
"""Groups of which several can be on at once."""

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))


def imported(source: str) -> Iterator[str]:
    """Every module that a file imports, also within functions and for type checkers."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            # `from cam_lightning import metric` imports a room, `from cam_lightning.metric import x` another.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    """The room, or the module beside the rooms, that one of our modules is in."""
    return module.split(".")[1] if "." in module else ""


def forbidden(importer: str, source: str) -> list[str]:
    """What a module of ours imports and may not."""
    return [module for module in imported(source) if not _allowed(importer, module)]


def _allowed(importer: str, module: str) -> bool:
    room, other = room_of(importer), room_of(module)
    library = module.partition(".")[0]
    if library in ("experiments", "tests"):
        return False
    if library != "cam_lightning":
        return library not in LIBRARIES_LEFT_OUT.get(room, set())
    if other in ("contracts", "") or other == room:
        return True
    if room == "contracts" or other in COMMANDS:
        return False
    if room == "__init__":
        return other == "api"
    return FLOOR[other] < FLOOR.get(room, 6)


@every_file
def test_imports_go_down(path: Path) -> None:
    importer = ".".join(("cam_lightning", *path.relative_to(PACKAGE).with_suffix("").parts))
    assert forbidden(importer, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("importer", "source", "expected"),
    [
        ("functional.box", "from cam_lightning.metric.counter import x", ["cam_lightning.metric.counter.x"]),
        ("functional.box", "from cam_lightning.functional.overlap import x", []),
        ("functional.box", "from lightning.pytorch import Trainer", ["lightning.pytorch.Trainer"]),
        ("functional.box", "def f():\n    import torchmetrics", ["torchmetrics"]),
        ("metric.counter", "from torchmetrics import Metric", []),
        ("metric.counter", "from cam_lightning.box.largest_component import x",
         ["cam_lightning.box.largest_component.x"]),
        ("metric.counter", "from cam_lightning.contracts import Batch", []),
        ("metric.counter", "from cam_lightning import method", ["cam_lightning.method"]),
        ("dataset.pipeline.split", "import omegaconf", ["omegaconf"]),
        ("run.directory", "from cam_lightning.functional.box import x", ["cam_lightning.functional.box.x"]),
        ("callback.overlays", "from cam_lightning.method.base import log_exactly", []),
        ("method.classification", "from cam_lightning.callback.overlays import x",
         ["cam_lightning.callback.overlays.x"]),
        ("report.table", "from cam_lightning import metric, callback", ["cam_lightning.callback"]),
        ("sweep.job", "from cam_lightning.report.table import x\nimport hydra", []),
        ("sink.maps", "from cam_lightning.build import plain", ["cam_lightning.build.plain"]),
        ("train", "import hydra\nfrom cam_lightning.report.table import x", []),
        ("train", "from cam_lightning.evaluate import run", ["cam_lightning.evaluate.run"]),
        ("train", "import experiments.bench", ["experiments.bench"]),
        ("contracts", "from cam_lightning.functional.box import x", ["cam_lightning.functional.box.x"]),
    ],
)  # fmt: skip
def test_the_rule_finds_what_it_forbids(importer: str, source: str, expected: list[str]) -> None:
    assert forbidden(f"cam_lightning.{importer}", source) == expected


def test_every_room_is_on_a_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {room for room in FLOOR if (PACKAGE / room).is_dir()}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_at_the_top_are_commands_alone(name: str) -> None:
    """Each has the configuration that it composes, and is short: what it does is elsewhere."""
    assert (CONF / f"{name}.yaml").is_file()
    source = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
    assert f'main = entry_point("{name}")' in source
    assert source.count("def run(") == 1


def test_there_is_no_room_for_leftovers() -> None:
    assert [path for path in FILES if path.stem in ("utils", "util", "helpers", "misc", "common")] == []


# Configuration

YAMLS = sorted(CONF.rglob("*.yaml"))


def choices(*groups: str) -> list[Any]:
    """Every yaml in some groups and the groups below them, but for those that are part of the others there."""
    return [
        pytest.param(str(path.parent.relative_to(CONF)), path.stem, id=str(path.relative_to(CONF)))
        for group in groups
        for path in sorted((CONF / group).rglob("*.yaml"))
        if (path.stem != "default" or group in ("paths", "cam")) and (group, path.stem) != ("evaluator", "none")
    ]


def composed(*overrides: str, name: str = "train") -> DictConfig:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose(name, overrides=list(overrides))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(CONF)))
def test_every_yaml_opens_with_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines[:2] if line.startswith("# ") and not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    assert comments, "a directive for Hydra says nothing to a reader"


def test_every_group_is_known_here() -> None:
    """A new group joins the rules: parts instantiate, other choices compose."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups == {*PARTS, *CHOICES, "hydra"}
    assert set(PARTS) <= set(FLOOR)


@pytest.mark.parametrize(("group", "choice"), choices(*NESTING))
def test_parts_that_can_be_on_together_nest_under_their_own_name(group: str, choice: str) -> None:
    """Hydra would otherwise merge two of them into one, in silence."""
    content = OmegaConf.load(CONF / group / f"{choice}.yaml")
    assert list(content) == ([] if choice == "none" else [choice])


@pytest.mark.parametrize("name", ["train", "evaluate"])
@pytest.mark.parametrize(
    # The rows of the WSOL benchmark have a test of their own.
    ("group", "choice"), [case for case in choices(*CHOICES) if not re.match(r"experiment/wsol/.*/", case.id)]
)  # fmt: skip
def test_every_choice_composes(name: str, group: str, choice: str) -> None:
    # A folder of experiments is part of their names.
    group, _, folder = group.partition("/")
    config = composed(f"{group}={folder}{'/' * bool(folder)}{choice}", name=name)
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(resolved, dict)
    assert group == "experiment" or group in resolved


@pytest.mark.parametrize(("group", "choice"), choices(*PARTS))
def test_every_part_composes_and_instantiates(group: str, choice: str, tmp_path: Path) -> None:
    """Networks on the device `meta`: without their weights, which cost seconds and a gigabyte."""
    if choice == "timm_gap" and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    top = group.partition("/")[0]
    several = f"{group}=[{choice}]" if group in NESTING else f"{group}={choice}"
    name = "probe" if top == "classifier" else "train"
    config = composed(several, f"run_dir={tmp_path}", f"paths.data={tmp_path}/nowhere", name=name)
    node = OmegaConf.select(config, group.replace("/", "."))
    if group in NESTING:
        assert list(node) == [choice]
        node = node[choice]
    extra: dict[str, Any] = {}
    if group == "backbone":
        extra = {"num_classes": 3}
    elif group == "method":
        extra = {"network": ToyGap(nn.Identity(), 3, 3)}
        node = {key: value for key, value in plain(node).items() if key != "network_part"}
    elif (group, choice) == ("callback", "localization"):
        extra = {"localizer": plain_localizer(ToyGap(nn.Identity(), 3, 3)), "metrics": {"gt": GtKnownError()}}
    with torch.device("meta" if group == "backbone" else "cpu"):
        part = instantiate(node, **extra)
    assert callable(part) if top in CALLED else part is not None
    if choice == "localization":
        assert isinstance(part, LocalizationCallback)
        assert len(part.sinks) == len(config.callback.localization.sinks)


def test_training_and_evaluation_build_the_same() -> None:
    """A callback that evaluation forgets would vanish without a word; only checkpoints need none there."""
    train, evaluate = composed(), composed(name="evaluate")
    for group in (*(part for part in PARTS if part != "classifier"), "trainer", "paths", "logger"):
        ours, theirs = (OmegaConf.to_container(config[group], resolve=True) for config in (train, evaluate))
        if group == "callback":
            assert isinstance(ours, dict)
            assert ours.pop("checkpoint")
        assert ours == theirs
