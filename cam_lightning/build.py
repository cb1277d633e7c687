"""From a composed configuration to objects: the one place where training and evaluation are put together."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.weights import weights_num_classes
from cam_lightning.callback.localization import LocalizationCallback, protocol
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import Network, Results
from cam_lightning.dataset.imagenet import class_positions, imagenet_classes
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.logger.metrics_file import MetricsFile
from cam_lightning.method.classification import Classification
from cam_lightning.run.directory import RunDirectory

log = logging.getLogger(__name__)

# Lightning adds handlers of its own when it is imported; the run's log has its records already.
for _name in ("lightning", "lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).handlers.clear()
    logging.getLogger(_name).propagate = True

REBUILDS = ("dataset", "backbone", "cam", "box", "seed")
"""The parts of the configuration that a checkpoint carries, so that it can be evaluated as it was trained."""


def build_data(config: DictConfig) -> LocalizationDataModule:
    """The datamodule, with its splits read, so that what is wrong with the data is said before anything is built."""
    seed_everything(config.seed, workers=True, verbose=False)
    data: LocalizationDataModule = instantiate(config.dataset, _convert_="all")
    data.setup()
    return data


def build_method(config: DictConfig, network: TrunkNetwork, class_names: list[str]) -> Classification:
    """The LightningModule around a network; its checkpoints carry what is needed to build it again."""
    method: Classification = instantiate(config.method, network=network, _convert_="all")
    method.description = {
        "config": rebuilt_from(config),
        "num_classes": network.num_classes,
        "class_names": class_names,
    }
    return method


def rebuilt_from(config: DictConfig) -> dict[str, Any]:
    """The parts that a network is built again from, as plain containers."""
    # Resolved before they are taken out: a dataset's folders lie below `paths`, which stays behind.
    resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return {part: resolved[part] for part in REBUILDS}


def build_trainer(config: DictConfig, run: RunDirectory, network: Network) -> Trainer:
    """The Trainer with every callback and logger of the configuration."""
    callbacks = [callback for callback in map(_builder(config, network), config.callback) if callback is not None]
    loggers: list[Logger] = [MetricsFile(run.path)]
    loggers += [instantiate(logger, _convert_="all") for logger in config.logger.values()]
    # A logger that shows pictures sees what the localization callback sees.
    shown = [logger.sink for logger in loggers if hasattr(logger, "sink")]
    for callback in callbacks:
        if isinstance(callback, LocalizationCallback):
            callback.sinks += shown
    enable_progress_bar = "progress" in config.callback
    return instantiate(
        config.trainer,
        callbacks=callbacks,
        logger=loggers,
        default_root_dir=str(run.path),
        enable_progress_bar=enable_progress_bar,
        enable_checkpointing="checkpoint" in config.callback,
        _convert_="all",
    )


def _builder(config: DictConfig, network: Network) -> Any:
    def build(name: Any) -> Callback | None:
        part = config.callback[name]
        if name != "localization":
            return instantiate(part, _convert_="all")
        cam = instantiate(config.cam, _convert_="all")
        if not network.has_cam and isinstance(cam, ClassActivationMap) and "cam" not in _chosen_groups():
            log.warning("%s has no class activation map: localization is left out", type(network).__name__)
            return None
        _require_one_overlap(config.metric)
        metrics = {key: instantiate(metric, _convert_="all") for key, metric in config.metric.items()}
        return instantiate(
            part, cam=cam, box=instantiate(config.box, _convert_="all"), metrics=metrics, _convert_="all"
        )

    return build


def _require_one_overlap(metrics: DictConfig) -> None:
    """Raises ValueError where errors that stand side by side would be counted at different overlaps."""
    names = ("localization_error", "gt_known_error", "threshold_curve")
    overlaps = {name: metrics[name].iou_threshold for name in names if "iou_threshold" in metrics.get(name, {})}
    if "threshold_curve" in overlaps and len(set(overlaps.values())) > 1:
        raise ValueError(
            f"errors that stand side by side count hits at different IoUs (metric.….iou_threshold): {overlaps}. "
            "metric.localization_error.iou_threshold alone sets all of them"
        )


def _chosen_groups() -> set[str]:
    """What the command line names itself: asked for by name, what cannot work is an error."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return {override.partition("=")[0] for override in overrides}


def restore_selected_thresholds(trainer: Trainer, path: str) -> None:
    """Hands the localization callback the thresholds that were chosen in the validation of a checkpoint."""
    states = read_checkpoint(path).get("callbacks", {})
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, LocalizationCallback) and callback.state_key in states:
            callback.load_state_dict(states[callback.state_key])


def collect_results(trainer: Trainer, method: Classification, config: DictConfig, **further: Any) -> Results:
    """Everything logged by the last evaluation, as plain numbers, and how it was made, with `further`, in `protocol/`.

    To be called on every rank, since skipped images are gathered from all of them.
    """
    results: Results = {}
    for key, value in sorted(trainer.callback_metrics.items()):
        is_count = key.rpartition("/")[2].startswith("num_")
        results[key] = round(value.item()) if is_count else value.item()
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, LocalizationCallback):
            results |= {f"protocol/{key}": value for key, value in _localization_protocol(callback, config).items()}
    for split, ids in trainer.datamodule.skipped.ids().items():  # type: ignore[attr-defined]
        if ids:
            log.warning("%d images of the %s split could not be read: %s", len(ids), split, ", ".join(ids))
        results |= {f"{split}/num_skipped_images": len(ids), f"protocol/skipped_images/{split}": ids}
    precision = "float32" if method.evaluation_precision == "float32" else str(config.trainer.precision)
    input_size = list(trainer.datamodule.input_size)  # type: ignore[attr-defined]
    results |= {"protocol/evaluation_precision": precision, "protocol/input_size": input_size}
    results |= {"protocol/seed": config.seed}
    return results | {f"protocol/{key}": value for key, value in further.items()}


def _localization_protocol(callback: LocalizationCallback, config: DictConfig) -> Results:
    """Maps, boxes, baselines and metrics with every option that a number depends on."""
    results: Results = {"cam": type(callback.cam).__name__}
    results |= {f"cam/{key}": value for key, value in protocol(callback.cam).items()}
    results |= {f"box/{key}": value for key, value in protocol(callback.box).items()}
    results |= {f"baseline/{name}": share for name, share in callback.baselines.items()}
    for name, metric in config.metric.items():
        options: dict[str, Any] = OmegaConf.to_container(metric, resolve=True)  # type: ignore[assignment]
        results[f"metric/{name}"] = options.pop("_target_")
        # A part within a part is described above.
        results |= {f"metric/{name}/{key}": value for key, value in options.items() if not isinstance(value, dict)}
    return results


def require_every_image(results: Results, split: str, data: LocalizationDataModule, config: DictConfig) -> None:
    """Raises RuntimeError where not every image of a split was counted exactly once, or skipped as unreadable."""
    if config.trainer.fast_dev_run or config.trainer[f"limit_{split}_batches"] is not None:
        return
    counted, expected = results[f"{split}/num_images"], len(data.examples[split])
    skipped = results.get(f"{split}/num_skipped_images", 0)
    if counted + skipped != expected:
        raise RuntimeError(f"{counted} images were counted and {skipped} skipped, but the {split} split has {expected}")


def checkpoint_file(path: Path) -> Path:
    """The checkpoint that a path means: itself, or the last one of a run's directory, else FileNotFoundError."""
    if not path.is_dir():
        return path
    last = path / "checkpoints" / "last.ckpt"
    if not last.is_file():
        raise FileNotFoundError(f"{path} holds no checkpoints/last.ckpt: it is not a training run that got so far")
    return last


def read_checkpoint(path: str) -> dict[str, Any]:
    """A checkpoint of ours; raises FileNotFoundError or ValueError that name the file."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint={path} does not exist")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"checkpoint={path} cannot be read: it is truncated or not a checkpoint ({error})") from error
    if not isinstance(checkpoint, dict) or "cam_lightning" not in checkpoint:
        raise ValueError(
            f"checkpoint={path} is not a checkpoint of cam_lightning; for plain weights use backbone.weights"
        )
    return checkpoint


def inherit_from_checkpoint(config: DictConfig, overrides: list[str]) -> None:
    """Takes the parts that made `config.checkpoint` from it, except where the command says otherwise.

    A part chosen anew on the command line (`dataset=…`) replaces the checkpoint's, but for the images' size, which
    is the network's; a single option (`box.threshold=0.3`) changes that option of it.
    """
    saved = OmegaConf.create(read_checkpoint(config.checkpoint)["cam_lightning"]["config"])
    assigned = dict(override.lstrip("+").partition("=")[::2] for override in overrides if "=" in override)
    for part in REBUILDS:
        if part not in config or part in assigned or "experiment" in assigned:
            continue
        given = {key: OmegaConf.select(config, key) for key in assigned if key.startswith(f"{part}.")}
        config[part] = saved[part]
        for key, value in given.items():
            OmegaConf.update(config, key, value)
    if "dataset" in assigned and not {"experiment", "dataset.image_size"} & set(assigned):
        config.dataset.image_size = saved.dataset.image_size
        log.info(
            "images are seen at %s, as the network was trained; dataset.image_size changes it", saved.dataset.image_size
        )


def load_checkpoint(config: DictConfig, data: LocalizationDataModule) -> TrunkNetwork:
    """The network of `config.checkpoint`, restricted to the dataset's classes; raises ValueError where they differ."""
    network, output_names = checkpoint_network(config)
    return _restricted(network, data, output_names)


def checkpoint_network(config: DictConfig) -> tuple[TrunkNetwork, list[str] | None]:
    """The network of `config.checkpoint` and its classes' names; raises ValueError where it is of another backbone."""
    checkpoint = read_checkpoint(config.checkpoint)
    description = checkpoint["cam_lightning"]
    network: TrunkNetwork = instantiate(
        config.backbone, weights="none", num_classes=description["num_classes"], _convert_="all"
    )
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


def network_with_weights(config: DictConfig, data: LocalizationDataModule) -> TrunkNetwork:
    """A backbone with published weights, all of its layers covered, restricted to the dataset's classes."""
    network, output_names = published_network(config)
    return _restricted(network, data, output_names)


def published_network(config: DictConfig) -> tuple[TrunkNetwork, list[str] | None]:
    """A backbone with weights for every layer and its classes' names, which are known where they are ImageNet's."""
    with torch.device("meta"):
        skeleton: TrunkNetwork = instantiate(config.backbone, weights="none", num_classes=2, _convert_="all")
    num_outputs = weights_num_classes(skeleton, config.backbone.weights)
    network: TrunkNetwork = instantiate(config.backbone, num_classes=num_outputs, new_head=False, _convert_="all")
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
