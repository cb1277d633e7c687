"""What a checkpoint is: its files' names, how it is written whole, read as data, and found again."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from cam_lightning.contracts import Rewindable
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.earlier import upgraded_config, upgraded_state
from cam_lightning.run.tensor_file import read_tensor_file
from cam_lightning.run.trust import require_plain

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
DESCRIPTION = "cam_lightning"
"""The key of what says how to build the network again: `config`, `num_classes`, `class_names`, `splits`."""


def checkpoint_file(path: Path) -> Path:
    """The checkpoint that a path means: itself, or the last one of a run's directory, else FileNotFoundError."""
    if not path.is_dir():
        return path
    last = path / "checkpoints" / LAST
    if not last.is_file():
        raise FileNotFoundError(f"{path} holds no checkpoints/{LAST}: it is not a training run that got so far")
    return last


def read_checkpoint(path: str) -> dict[str, Any]:
    """A checkpoint of ours, also of an earlier version; raises FileNotFoundError or ValueError that name the file.

    It may be anybody's: nothing of it is run, and its configuration is plain (see `run/trust.py`).
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint={path} does not exist")
    checkpoint = read_tensor_file(Path(path), "checkpoint")
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(DESCRIPTION), dict):
        raise ValueError(
            f"checkpoint={path} is not a checkpoint of cam_lightning; for plain weights use backbone.weights"
        )
    config = checkpoint[DESCRIPTION].get("config", {})
    if not isinstance(config, Mapping):
        raise ValueError(f"checkpoint={path} holds no configuration, but {type(config).__name__}")
    require_plain(config, f"checkpoint={path}")
    checkpoint[DESCRIPTION]["config"] = upgraded_config(config)
    if "state_dict" in checkpoint:
        checkpoint["state_dict"] = upgraded_state(checkpoint["state_dict"])
    return checkpoint


def newest_checkpoint(run: RunDirectory) -> tuple[Path, dict[str, Any]] | None:
    """The last checkpoint that can be read, with its content; None where none was written before the run ended.

    Says so where it is not the last one. Raises ValueError where there are some and none can be read.
    """
    unreadable = []
    for path in (run.path / "checkpoints" / LAST, run.path / "checkpoints" / PREVIOUS):
        if not path.is_file():
            continue
        try:
            content = read_checkpoint(str(path))
            position = _position_of(content, path)
        except ValueError as error:
            log.warning("%s", error)
            unreadable.append(path.name)
            continue
        damage = "damaged" if unreadable else "missing"
        where = "" if path.name == LAST else f", the checkpoint before the last (which is {damage})"
        log.info(
            "going on from %s%s: epoch %d, batch %d, step %d",
            path,
            where,
            position["epoch"],
            position["batch"],
            position["step"],
        )
        return path, content
    if unreadable:
        raise ValueError(f"no checkpoint of {run.path} can be read ({', '.join(unreadable)}): start a new run")
    log.info("%s has no checkpoint yet: starting from the beginning", run.path)
    return None


def _position_of(content: dict[str, Any], path: Path) -> dict[str, Any]:
    position = content.get("position")
    if not isinstance(position, dict) or not {"epoch", "batch", "step"} <= position.keys():
        raise ValueError(f"checkpoint={path} does not say where training stood, as best.ckpt does not: nothing goes on")
    return position


def require_same_data(content: dict[str, Any], data: Any) -> None:
    """Raises ValueError where a run that goes on would read other classes or other images than it began with.

    Labels are positions in the list of classes: one class more or less gives every later one another's label.
    """
    description = content[DESCRIPTION]
    was, now = description.get("class_names"), list(data.class_names)
    if was is not None and list(was) != now:
        gone, new = ([name for name in a if name not in b] for a, b in ((was, now), (now, was)))
        raise ValueError(
            f"the dataset's classes are not those that the run began with ({len(was)} then, {len(now)} now; gone: "
            f"{', '.join(gone[:5]) or 'none'}; new: {', '.join(new[:5]) or 'none'}). Put the data back, or start anew"
        )
    for split, changed in _changed_splits(description, data):
        raise ValueError(
            f"the {split} split is not what the run began with: {changed}. Put the data back, or start anew"
        )


def warn_of_other_images(content: dict[str, Any], data: Any) -> None:
    """Says in the log where the test split of the checkpoint's own dataset has become another."""
    for split, changed in _changed_splits(content[DESCRIPTION], data):
        if split == "test":
            log.warning("the test split is not what it was when the checkpoint was trained: %s", changed)


def _changed_splits(description: dict[str, Any], data: Any) -> Iterator[tuple[str, str]]:
    now = data.fingerprints()
    for split, was in description.get("splits", {}).items():
        if split not in now:
            yield split, f"{was['num_images']:,} images then, and none now"
        elif was != now[split]:
            yield split, f"{was['num_images']:,} images then, {now[split]['num_images']:,} now, not the same ones"


def rewind(trainer: Any, data: Any, content: dict[str, Any] | None) -> None:
    """Puts the data and the loggers where the checkpoint `content` left them, or at the beginning where it is None."""
    position: dict[str, Any] = content["position"] if content is not None else {"epoch": 0, "batch": 0, "loggers": {}}
    data.resumed_at = (position["epoch"], position["batch"])
    for logger in trainer.loggers:
        if isinstance(logger, Rewindable):
            logger.rewind(position["loggers"].get(type(logger).__name__, 0))


def restore_callbacks(trainer: Any, content: dict[str, Any]) -> None:
    """Hands the callbacks what they kept in a checkpoint, such as thresholds that were chosen in its validation."""
    states = content.get("callbacks", {})
    for callback in trainer.callbacks:
        if callback.state_key in states:
            callback.load_state_dict(states[callback.state_key])


def save_network(run: RunDirectory, method: Any) -> Path:
    """Writes what a method's network is, and how to build it again, as the run's last checkpoint: nothing to go on."""
    path = run.path / "checkpoints" / LAST
    state = {f"network.{name}": value for name, value in method.network.state_dict().items()}
    WholeCheckpoints().save_checkpoint({"state_dict": state, DESCRIPTION: method.description}, path)
    return path


class WholeCheckpoints(TorchCheckpointIO):
    """What a Trainer saves with: whole or not at all, and never in place of the last good one before it is.

    `storage_options` may say `keep_as`, the name that the file which is replaced is kept under. Raises OSError,
    with the file that is still good, where the disk is full.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        target = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.part")
        try:
            with temporary.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                # Else a machine that loses power may have the new name and not yet the new content.
                os.fsync(file.fileno())
        except OSError as error:
            temporary.unlink(missing_ok=True)
            kept = f"{target} still holds the one before" if target.is_file() else "none had been written before"
            raise OSError(
                error.errno,
                f"the checkpoint could not be written ({error.strerror}); {kept}. Make room, and go on with resume=RUN",
                str(target),
            ) from error
        if storage_options is not None and target.exists():
            os.replace(target, target.with_name(storage_options["keep_as"]))
        os.replace(temporary, target)
