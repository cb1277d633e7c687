"""What earlier versions called things, so that their checkpoints and run directories still serve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

EARLIER_LAYERS = {"class_maps.": "class_conv."}
"""Before 0.2: layers of a network by the beginning of their names."""
_MOVED = {
    "dataset.transform.RandomCrop": "dataset.augmentation.random_crop.RandomCrop",
    "dataset.transform.RandomResizedCrop": "dataset.augmentation.random_resized_crop.RandomResizedCrop",
    "callback.maps.Maps": "sink.maps.Maps",
    "callback.overlays.Overlays": "sink.overlays.Overlays",
    "callback.predictions.Predictions": "sink.predictions.Predictions",
    "report.file_loggers.ResumableCsv": "logger.csv.ResumableCsv",
    "report.file_loggers.ResumableTensorBoard": "logger.tensorboard.ResumableTensorBoard",
    "report.wandb_logger.WandbLogger": "logger.wandb.WandbLogger",
    "trainer.build_trainer": "run.trainer.build_trainer",
}
"""Before 0.2: targets below `cam_lightning.`."""

_DECLARED: dict[str, dict[str, Any]] = {
    "trainer": {"_options_": {"timeout_minutes": "manner", "max_epochs": "extent"}},
    "dataset": {"_options_": {"num_workers": "manner", "root": "path"}},
    "callback.checkpoint": {"_options_": {"every_minutes": "manner"}},
    "logger.wandb": {"_options_": {"mode": "manner"}},
}
"""Before 0.2: what parts now say of their options (`launch/option.py`)."""
_LOWER = "val/classification_error/top1"
"""What checkpoints are chosen by unless one says otherwise; the lower, the better."""


def upgraded_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration as this version writes it: plain containers in and out; a new one stays as it is."""
    upgraded: dict[str, Any] = _with_moved_targets(config)
    if "metric" in upgraded and "hit_iou" not in upgraded:
        metrics = upgraded["metric"] or {}
        upgraded["hit_iou"] = (metrics.get("localization_error") or {}).get("iou_threshold", 0.5)
    cam = upgraded.get("cam")
    if isinstance(cam, dict) and cam.get("_target_") == "cam_lightning.cam.cam.ClassActivationMap":
        # A network without a map was then left to classify only.
        cam.setdefault("required", False)
    for place, declared in _DECLARED.items():
        part = _select(upgraded, place)
        if isinstance(part, dict):
            for key, value in declared.items():
                part.setdefault(key, value)
    schedule = _select(upgraded, "method.schedule")
    if isinstance(schedule, dict) and str(schedule.get("_target_")).endswith(".one_cycle"):
        schedule.setdefault("_fixed_extent_", True)
    if isinstance(schedule, dict) and str(schedule.get("_target_")).endswith(".step_epochs"):
        # As it was then laid out, whatever ended the training.
        schedule.setdefault("max_steps", -1)
    checkpoint = _select(upgraded, "callback.checkpoint")
    if isinstance(checkpoint, dict) and (checkpoint.get("monitor"), checkpoint.get("mode")) == (_LOWER, "min"):
        # What is now the number's own to say, so that runs of then and now are one row of a table.
        checkpoint["mode"] = None
    return upgraded


def upgraded_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's tensors by the names that layers have now."""
    pattern = "|".join(map(re.escape, EARLIER_LAYERS))
    return {
        re.sub(rf"^(network\.)?({pattern})", lambda found: (found[1] or "") + EARLIER_LAYERS[found[2]], name): value
        for name, value in state.items()
    }


def _select(config: Mapping[str, Any], place: str) -> Any:
    node: Any = config
    for key in place.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _with_moved_targets(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _target(value) if key == "_target_" else _with_moved_targets(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_with_moved_targets(value) for value in node]
    return node


def _target(name: Any) -> Any:
    package, _, rest = str(name).partition(".")
    return f"{package}.{_MOVED[rest]}" if package == "cam_lightning" and rest in _MOVED else name
