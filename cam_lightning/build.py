"""From a composed configuration to objects: the one place where training and evaluation are put together."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import hydra
import torch
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.probe import probe
from cam_lightning.backbone.weights import weights_num_classes
from cam_lightning.callback.specs_file import SpecsFile
from cam_lightning.callback.times_file import TimesFile
from cam_lightning.contracts import NoClassMapError, Recipe
from cam_lightning.dataset.imagenet import class_positions, imagenet_classes, imagenet_names
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.transform import height_and_width
from cam_lightning.localization.localizer import Localizer
from cam_lightning.logger.metrics_file import MetricsFile
from cam_lightning.method.base import Method
from cam_lightning.method.multi_label import independent_classes
from cam_lightning.run.checkpoint import DESCRIPTION, read_checkpoint
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.option import is_meta
from cam_lightning.run.place import CONF, VERSION_BASE
from cam_lightning.run.trust import located

log = logging.getLogger(__name__)

# Lightning adds handlers of its own when it is imported; the run's log has its records already.
for _name in ("lightning", "lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).handlers.clear()
    logging.getLogger(_name).propagate = True

REBUILDS = ("dataset", "backbone", "method", "cam", "box", "further", "hit_iou", "seed")
"""What a checkpoint carries of the configuration, so that it can be evaluated as it was trained."""


# --- one part


def instantiate(node: Any, trust: Sequence[str] = (), where: str = "", **further: Any) -> Any:
    """The object that a part of the configuration names in `_target_`, and those within it first.

    `further` are arguments that configurations do not have; `where` names the part in errors. With `_partial_: true`
    it is the function or class with its options, still to be called. Raises ValueError for a target that is not
    trusted (`run/trust.py`) and for an option that the part has not, and whatever the part itself raises.
    """
    if OmegaConf.is_config(node):
        where = where or node._get_full_key(None)
        node = OmegaConf.to_container(node, resolve=True)
    return _made(node, where or "the part", trust, further)


def _made(node: Any, where: str, trust: Sequence[str], further: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_made(each, f"{where}[{number}]", trust, {}) for number, each in enumerate(node)]
    if not isinstance(node, dict):
        return node
    options = {key: _made(value, f"{where}.{key}", trust, {}) for key, value in node.items() if not is_meta(str(key))}
    options |= further
    if "_target_" not in node:
        return options
    make = located(node["_target_"], trust, f"{where}._target_")
    if node.get("_partial_"):
        return partial(make, **options)
    try:
        return make(**options)
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None or unknown[1] not in options:
            raise
        raise ValueError(
            f"{where} has no option {unknown[1]!r}. Where it was set for another choice of that part, as by an "
            f"experiment, take it back with '~{where}.{unknown[1]}'"
        ) from error


def choice(group: str, name: str) -> DictConfig:
    """What `group=name` composes to by itself, such as `backbone=googlenet_gmp`; HydraException for no such choice."""
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose(overrides=[f"+{group}={name}"])[group]


def _trust(config: DictConfig) -> list[str]:
    """The packages that the command line trusts."""
    return list(config.get("trust") or ())


# --- data and networks


def build_data(config: DictConfig) -> LocalizationDataModule:
    """The datamodule, with its splits read, so that what is wrong with the data is said before anything is built."""
    seed_everything(config.seed, workers=True, verbose=False)
    data: LocalizationDataModule = instantiate(config.dataset, _trust(config))
    data.setup()
    return data


def build_network(config: DictConfig, num_classes: int) -> TrunkNetwork:
    """The backbone with its own weights, and what the method changes of it.

    Raises ValueError for one whose classes are named by itself: nothing would bring the dataset's into their order.
    """
    network = instantiate(config.backbone, _trust(config), num_classes=num_classes)
    _require_a_free_head(network)
    return _with_network_part(config, network)


def network_for_data(config: DictConfig, data: LocalizationDataModule) -> TrunkNetwork:
    """The network of `config.checkpoint`, or else a backbone with published weights, for the dataset's classes.

    All of its layers are covered. Raises ValueError where it is of another backbone or of other classes.
    """
    if config.checkpoint is None and config.backbone.get("weights", "none") == "none":
        raise ValueError("nothing to evaluate: give checkpoint=FILE, or backbone.weights=imagenet or =FILE")
    network, output_names = _checkpoint_network(config) if config.checkpoint is not None else _published_network(config)
    return _restricted(network, data, output_names)


def network_for_photos(config: DictConfig) -> TrunkNetwork:
    """The network of `config.checkpoint`, or a backbone with weights, in eval mode on `config.device`, with its recipe.

    Images are seen at `config.image_size`, or where it is None at the checkpoint's, else at 224. WordNet ids get
    their English names.
    """
    image_size = config.image_size
    if config.checkpoint is not None:
        network, output_names = _checkpoint_network(config)
        description = read_checkpoint(config.checkpoint)[DESCRIPTION]
        image_size = image_size or description["config"]["dataset"]["image_size"]
    else:
        network, output_names = _published_network(config)
    output_names = output_names or [f"class {index}" for index in range(network.num_classes)]
    network.recipe = Recipe(
        class_names=[imagenet_names().get(name, name) for name in output_names],
        input_size=height_and_width(image_size or 224),
        cam=instantiate(config.cam, _trust(config)),
        box=instantiate(config.box, _trust(config)),
        further_cams=_further(config, "cam"),
        further_boxes=_further(config, "box"),
    )
    return on_device(network, config.device)


def on_device(network: TrunkNetwork, name: str) -> TrunkNetwork:
    """The network in eval mode on a device by its name (`auto`, `cpu`, `cuda`); raises ValueError as for one."""
    return network.eval().to(_device(name), memory_format=torch.channels_last)  # type: ignore[call-overload]


def build_feature_network(config: DictConfig, normalise: bool = False) -> TrunkNetwork:
    """The network whose features a probe reads, in eval mode on `config.device`; its classifier is still another's.

    It is that of `config.checkpoint`, or a backbone whose weights cover every layer but the classifier; from here on
    `config.method` says what the probe changes of it. Raises ValueError for layers that would stay at random, and
    for a network that its method has changed.
    """
    part = plain(config.network_part)
    if not _leaves_layers((config.method or {}).get("network_part"), part):
        raise ValueError("the method adds layers to the network: a probe reads one that is as its backbone builds it")
    OmegaConf.update(config, "method.network_part", None, force_add=True)
    if config.checkpoint is not None:
        network, _ = _checkpoint_network(config)
    elif config.backbone.get("weights", "none") == "none":
        raise ValueError("no network to probe: give checkpoint=RUN, or backbone.weights=imagenet or =FILE")
    else:
        network = instantiate(config.backbone, _trust(config), num_classes=1)
        _require_a_free_head(network)
        random = [layer for layer in network.new_layers if layer not in network.heads]
        if random:
            raise ValueError(
                f"backbone.weights={config.backbone.weights} does not cover {', '.join(random)}, which would stay at "
                "random values: a probe needs all layers but the classifier to be trained"
            )
    OmegaConf.update(config, "method.network_part", part, force_add=True)
    network = probe(network, part["layer"], normalise)
    return on_device(network, config.device)


def _leaves_layers(change: Any, probe_part: dict[str, Any]) -> bool:
    """Whether what made a network of its backbone left all layers as they are, but for the classifier's rows.

    So does what says how logits are read, and a probe, `probe_part` or one that only had other rows.
    """
    if change is None or change.get("_target_") == f"{independent_classes.__module__}.{independent_classes.__name__}":
        return True
    options, wanted = (
        {key: value for key, value in each.items() if key != "independent_classes"} for each in (change, probe_part)
    )
    return options in (wanted, {**wanted, "layer": None, "normalise": False})


def build_draws(config: DictConfig) -> list[LocalizationDataModule]:
    """The dataset of each split that `config.draws` names, by the dataset's own option; the first becomes the run's.

    Raises ValueError for a dataset whose split is fixed, and for fewer than two.
    """
    option = located(config.dataset["_target_"], _trust(config), "dataset._target_").DRAWN_BY  # type: ignore[attr-defined]
    if option is None:
        raise ValueError(f"draws={list(config.draws)}: this dataset's split is fixed; leave draws out")
    if len(config.draws) < 2 or len(set(config.draws)) < len(config.draws):
        raise ValueError(f"draws are two splits or more, each another, as draws=[0,1,2]; got {list(config.draws)}")
    datas = []
    for value in reversed(config.draws):
        OmegaConf.update(config, f"dataset.{option}", value)
        datas.append(build_data(config))
    return datas[::-1]


def _device(name: str) -> torch.device:
    """`auto` is a GPU if there is one; raises ValueError for what is no device or not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device is auto, cpu or cuda; got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name}, but torch sees no GPU; device=auto takes one if there is one")
    return device


def _require_a_free_head(network: Any) -> None:
    if getattr(network, "output_names", None) is not None:
        raise ValueError(
            "backbone.text makes a network whose classes are text, to evaluate and predict with; to train it or to "
            "probe its features, leave backbone.text null"
        )


def _with_network_part(config: DictConfig, network: Any) -> Any:
    part = (config.get("method") or {}).get("network_part")
    return network if part is None else instantiate(part, _trust(config), network=network)


def _checkpoint_network(config: DictConfig) -> tuple[TrunkNetwork, list[str] | None]:
    """The network of `config.checkpoint` and its classes' names; raises ValueError where it is of another backbone."""
    checkpoint = read_checkpoint(config.checkpoint)
    description = checkpoint[DESCRIPTION]
    bare = {"weights": "none"} if "weights" in config.backbone else {}
    network = instantiate(config.backbone, _trust(config), num_classes=description["num_classes"], **bare)
    network = _with_network_part(config, network)
    prefix = "network."
    state = {name[len(prefix) :]: value for name, value in checkpoint["state_dict"].items() if name.startswith(prefix)}
    expected = network.state_dict()
    for name in (*state, *expected):
        given, wanted = (tuple(d[name].shape) if name in d else "no such layer" for d in (state, expected))
        if given != wanted:
            raise ValueError(
                f"checkpoint={config.checkpoint} is of another network: {name} is {given} in the checkpoint "
                f"and {wanted} in this backbone"
            )
    network.load_state_dict(state)
    return network, description.get("class_names")


def _published_network(config: DictConfig) -> tuple[TrunkNetwork, list[str] | None]:
    """A backbone with weights for every layer and its classes' names, which are known where they are ImageNet's."""
    if (config.get("method") or {}).get("network_part") is not None:
        raise ValueError("the method adds layers to the network, which published weights do not have: give checkpoint=")
    with torch.device("meta"):
        skeleton = instantiate(config.backbone, _trust(config), weights="none", num_classes=2)
    names = getattr(skeleton, "output_names", None)
    num_outputs = weights_num_classes(skeleton, config.backbone.weights) if names is None else len(names)
    network = instantiate(config.backbone, _trust(config), num_classes=num_outputs, new_head=False)
    if names is not None:
        return network, names
    return network, imagenet_classes() if num_outputs == 1000 else None


def _restricted(network: TrunkNetwork, data: LocalizationDataModule, output_names: list[str] | None) -> TrunkNetwork:
    if output_names == data.class_names and data.class_index is None:
        return network
    if data.class_index is None and network.num_classes == data.num_classes and output_names is None:
        log.warning(
            "nothing says which of the network's outputs is which class: taken to be in the dataset's order, %s first; "
            "where they are not, give dataset.class_index",
            data.class_names[0],
        )
        return network
    positions = class_positions(data.class_index, data.class_names, network.num_classes, output_names)
    log.info(
        "the network's %d outputs are restricted to the dataset's %d classes",
        network.num_classes,
        len(positions),
    )
    return network.select_classes(positions)


# --- what trains and evaluates


def build_method(config: DictConfig, network: nn.Module, data: LocalizationDataModule) -> Method:
    """The LightningModule around a network; its checkpoints carry what is needed to build it again."""
    options = {key: value for key, value in plain(config.method).items() if key != "network_part"}
    method: Method = instantiate(options, _trust(config), "method", network=network)
    method.description = {
        "config": rebuilt_from(config),
        "num_classes": network.num_classes,
        "class_names": data.class_names,
        "splits": data.fingerprints(),
    }
    return method


def rebuilt_from(config: DictConfig) -> dict[str, Any]:
    """The parts that a network is built again from, as plain containers."""
    # Resolved before they are taken out: a dataset's folders lie below `paths`, which stays behind.
    resolved = plain(config)
    return {part: resolved[part] for part in REBUILDS}


def build_localizer(config: DictConfig, network: Any, input_size: tuple[int, int]) -> Localizer | None:
    """Every map and every box generator that is asked for, on one network.

    None, with a warning, where the run's own map does not insist (`cam.required=false`) and the network has none.
    Raises ValueError for maps that cannot be made of inputs of this height and width.
    """
    cams, boxes = (
        {"": instantiate(config[group], _trust(config)), **_further(config, group)} for group in ("cam", "box")
    )
    localizer = Localizer(network, cams, boxes)
    try:
        localizer.check(input_size)
    except NoClassMapError as error:
        if getattr(localizer.cam, "required", True):
            raise
        log.warning("localization is left out: %s", error)
        return None
    return localizer


def _further(config: DictConfig, group: str) -> dict[str, Any]:
    """The maps or box generators that are asked for beside the first, by name."""
    parts = (config.get("further") or {}).get(group, {})
    return {name: instantiate(node, _trust(config)) for name, node in parts.items()}


def build_trainer(config: DictConfig, run: RunDirectory, localizer: Localizer | None) -> Trainer:
    """The Trainer with every callback and logger of the configuration; without a localizer nothing is localized."""
    trust = _trust(config)
    loggers: list[Logger] = [MetricsFile(run.path)]
    loggers += [instantiate(logger, trust) for logger in config.logger.values()]
    callbacks: list[Callback] = [SpecsFile(run)]
    if localizer is not None and len(localizer.cams) > 1 and "localization" in config.callback:
        callbacks.append(TimesFile(run, localizer))
    for name, node in config.callback.items():
        if name != "localization":
            callbacks.append(instantiate(node, trust))
        elif localizer is not None:
            callbacks.append(_localization(config, localizer, loggers))
    return instantiate(
        config.trainer,
        trust,
        callbacks=callbacks,
        logger=loggers,
        default_root_dir=str(run.path),
        enable_progress_bar="progress" in config.callback,
        enable_checkpointing="checkpoint" in config.callback,
    )


def _localization(config: DictConfig, localizer: Localizer, loggers: list[Logger]) -> Callback:
    trust = _trust(config)
    _require_one_overlap(config)
    resolved = plain(config)
    boxes = {"": resolved["box"], **resolved.get("further", {}).get("box", {})}
    metrics = {
        arm: _metrics(_as_boxed(resolved["metric"], boxes[""], boxes[box]), boxes[box], trust)
        for arm, (_, box) in localizer.arms.items()
    }
    evaluators = {name: instantiate(node, trust) for name, node in (config.get("evaluator") or {}).items()}
    part = plain(config.callback.localization)
    sinks = instantiate(part.pop("sinks"), trust, "callback.localization.sinks")
    # A logger that shows pictures sees what the localization callback sees.
    sinks |= {f"logger {number}": each.sink for number, each in enumerate(loggers) if hasattr(each, "sink")}
    return instantiate(
        part,
        trust,
        "callback.localization",
        localizer=localizer,
        metrics=metrics.pop(""),
        further_metrics=metrics,
        evaluators=evaluators,
        sinks=sinks,
    )


def _as_boxed(nodes: Mapping[str, Any], own: Mapping[str, Any], box: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of a further box generator: where it makes other values of maps than the run's own, by the options that
    both have, so do those that make them themselves. Their numbers would else stand under its name, and be of the run's
    own.

    Not where it leaves values raw, of which such metrics make nothing.
    """
    options = ("normalise", "percentile", "rectify", "upsample")
    changed = {option: box.get(option) for option in options if own.get(option) != box.get(option)}
    if "normalise" not in own or "normalise" not in box or not changed or box["normalise"] == "none":
        return dict(nodes)
    if changed.keys() & {"normalise", "percentile"}:
        changed |= {"normalise": box["normalise"]}
    return {
        name: node | {key: value for key, value in changed.items() if key in node} if "normalise" in node else node
        for name, node in nodes.items()
    }


def _metrics(nodes: Mapping[str, Any], box: Any, trust: Sequence[str]) -> dict[str, Any]:
    """Every metric; one that sweeps over a box generator's thresholds sweeps over this one's."""
    return {
        name: instantiate({**node, "box": box} if "box" in node else node, trust, f"metric.{name}")
        for name, node in nodes.items()
    }


def plain(node: DictConfig) -> dict[str, Any]:
    """A configuration as plain containers, with everything in it resolved."""
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


def _require_one_overlap(config: DictConfig) -> None:
    """Raises ValueError where numbers or pictures that stand side by side would count hits at different overlaps."""
    groups = ("metric", "evaluator", "logger")
    nodes = {f"{group}.{name}": node for group in groups for name, node in (config.get(group) or {}).items()}
    nodes |= {f"callback.localization.sinks.{name}": node for name, node in config.callback.localization.sinks.items()}
    others = {
        f"{place}.iou_threshold": node.iou_threshold
        for place, node in nodes.items()
        if node.get("iou_threshold", config.hit_iou) != config.hit_iou
    }
    if others:
        raise ValueError(
            f"what stands side by side would count hits at different IoUs: hit_iou={config.hit_iou:g}, and {others}. "
            "hit_iou alone sets all of them"
        )
