"""The 1,000 classes of ILSVRC in the one order that networks' outputs have, sorted WordNet ids; and other orders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cam_lightning.run.choice import nearest


@cache
def _rows() -> list[tuple[str, str]]:
    text = files("cam_lightning.dataset").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return [(wordnet_id, name) for wordnet_id, name in rows]


def imagenet_classes() -> list[str]:
    """The WordNet ids of ILSVRC 2012, sorted: position i is output i of networks trained on it.

    The devkit numbers its classes 1..1000 in another order (pytorch-image-models #107): go through the ids.
    """
    return [wordnet_id for wordnet_id, _ in _rows()]


def imagenet_names() -> dict[str, str]:
    """WordNet id → English name, the first of its synonyms."""
    return dict(_rows())


def class_positions(class_index: Any, names: list[str], num_outputs: int, output_names: list[str] | None) -> list[int]:
    """Which output of the network stands for each class of the dataset.

    `class_index` maps class names to outputs (a mapping, or a JSON file of one). Where it is None, names are
    looked up among `output_names`. Raises ValueError for a class that is not found, with the names most alike, and for
    an output that the network has not or that is another class's too.
    """
    is_by_name = class_index is None
    if class_index is None:
        if output_names is None:
            raise ValueError(
                f"the network has {num_outputs} outputs and the dataset {len(names)} classes; "
                "say which is which with dataset.class_index (class name → output, or a JSON file of that)"
            )
        class_index = {name: position for position, name in enumerate(output_names)}
    elif isinstance(class_index, str):
        class_index = _read_mapping(class_index)
    if not isinstance(class_index, Mapping):
        raise ValueError(
            f"dataset.class_index is {{CLASS: OUTPUT, …}}, or a JSON file of that; got {class_index!r:.80}"
        )
    keys = named_classes(list(class_index), names)
    output_of = {key: class_index[given] for key, given in zip(keys, class_index, strict=True)}
    missing = [name for name in names if name not in output_of]
    if missing and is_by_name and output_names is not None:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"the network has no output for the dataset's class {missing[0]}{more}; its outputs are "
            f"{nearest(missing[0], output_names)}; say which is which with dataset.class_index (class name → output)"
        )
    if missing:
        raise ValueError(f"dataset.class_index has no output for {len(missing)} classes: {', '.join(missing[:10])}")
    for name in names:
        output = output_of[name]
        if isinstance(output, bool) or not str(output).strip().isdecimal() or not int(output) < num_outputs:
            raise ValueError(
                f"dataset.class_index gives class {name} the output {output!r}; the network's are numbered "
                f"0 to {num_outputs - 1}"
            )
    positions = [int(output_of[name]) for name in names]
    twice = [name for name, position in zip(names, positions, strict=True) if positions.count(position) > 1]
    if twice:
        raise ValueError(f"dataset.class_index gives one output to several classes: {', '.join(twice[:10])}")
    return positions


def named_classes(wanted: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """The classes of `names` that are meant by what a command line or a file calls them.

    Names that look like numbers or yes and no arrive as those: 1 means the class `1`, or `001` where no other could be
    meant. What is none of the classes stays as it is.
    """
    return [_named(value, names) for value in wanted]


def _named(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, str) and value in names:
        return value
    if isinstance(value, bool) or value is None:
        meant = [name for name in names if name.lower() == ("null" if value is None else str(value).lower())]
    elif isinstance(value, int | float):
        if str(value) in names:
            return str(value)
        meant = [name for name in names if _number(name) == value]
    else:
        meant = []
    return meant[0] if len(meant) == 1 else value


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _read_mapping(file: str) -> Any:
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"dataset.class_index={file} is no file")
    try:
        return json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"dataset.class_index={file} is not JSON: {error}") from error
