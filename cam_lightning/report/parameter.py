"""What a run was asked to compute, as dotted keys, and which of them tell several runs apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cam_lightning.report.number import ABSENT
from cam_lightning.report.run_record import RunRecord, read_run
from cam_lightning.run.option import declared, is_meta

_NOT_PARAMETERS = ("seed", "run_dir", "sweep", "on_error", "resume", "paths", "logger", "trust", "features")
"""What says where a run or what it keeps lies, or who watches it, not what it computes; and the seed, over which means
are taken."""


def parameters_of(records: list[RunRecord]) -> dict[Path, dict[str, Any]]:
    """The hyperparameters of every run that began.

    A part's seed that is the run's own in all of them says nothing more; one that was held fixed is a parameter.
    """
    parameters = {record.path: hyperparameters(record) for record in records if record.config}
    seeds = {record.path: record.config.get("seed") for record in records}

    def follows(key: str) -> bool:
        return key.endswith(".seed") and all(
            of_run.get(key, seeds[path]) == seeds[path] for path, of_run in parameters.items()
        )

    followed = {key for key in {key for of_run in parameters.values() for key in of_run} if follows(key)}
    return {
        path: {key: value for key, value in of_run.items() if key not in followed}
        for path, of_run in parameters.items()
    }


def hyperparameters(record: RunRecord) -> dict[str, Any]:
    """What a run's numbers depend on, as dotted keys, without the run's seed."""
    config = record.config
    run_dir = str(config.get("run_dir", record.path))
    manners = set(declared(config, "manner"))
    return {
        key: value
        for key, value in _flat(config)
        if key.split(".")[0] not in _NOT_PARAMETERS
        and "sinks" not in key.split(".")  # where localized images go, too
        and key not in manners
        and not (isinstance(value, str) and (value == run_dir or value.startswith(f"{run_dir}/")))
    }


def by_its_training(record: RunRecord) -> RunRecord:
    """An evaluation whose checkpoint is no path, but what it is of: the last, or the best of a training so long.

    So seeds of one training have a mean, and those of a longer one have their own. Where the training's directory is
    not there any more, only the file's name tells.
    """
    checkpoint = record.config.get("checkpoint")
    if not isinstance(checkpoint, str):
        return record
    file = Path(checkpoint)
    trainer = read_run(file.parent.parent).config.get("trainer")
    return record._replace(config=record.config | {"checkpoint": {"file": file.name, "trainer": trainer or {}}})


def _flat(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(node, dict):
        # What holds nothing, such as no loggers at all, is as good as absent.
        for key, value in node.items():
            if key == "_target_" or not is_meta(key):
                yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def differing_keys(parameters: list[dict[str, Any]]) -> list[str]:
    """The keys whose values are not the same everywhere."""
    keys = dict.fromkeys(key for of_run in parameters for key in of_run)
    return [key for key in keys if len({repr(of_run.get(key, ABSENT)) for of_run in parameters}) > 1]


def telling_keys(differing: list[str], parameters: list[dict[str, Any]]) -> list[str]:
    """Those of the differing keys that a reader needs to tell rows apart.

    Where runs have different parts (another `_target_`), an option that not all of them have, and that is the same
    wherever the part is the same, follows from the part, and is left out; and so is one that another part takes over
    from it everywhere, as `metric.threshold_curve.box.threshold` does `box.threshold`.
    """
    targets = [key for key in differing if key.endswith("._target_")]

    def follows(key: str) -> bool:
        parts = [target for target in targets if target != key and key.startswith(target.removesuffix("_target_"))]
        values: dict[tuple[Any, ...], set[str]] = {}
        for of_run in parameters:
            part = tuple(of_run.get(target) for target in parts)
            values.setdefault(part, set()).add(repr(of_run.get(key, ABSENT)))
        return bool(parts) and all(len(of_part) == 1 for of_part in values.values())

    def is_copy(key: str) -> bool:
        return any(
            key.endswith(f".{other}") and all(of_run.get(key) == of_run.get(other) for of_run in parameters)
            for other in differing
        )

    told = [key for key in differing if all(key in of_run for of_run in parameters) or not follows(key)]
    return [key for key in told if not is_copy(key)]
