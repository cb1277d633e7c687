"""The 1,000 classes of ILSVRC in the one order that networks' outputs have, sorted WordNet ids; and other orders."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any


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
    looked up among `output_names`. Raises ValueError for a class that is not found.
    """
    if class_index is None:
        if output_names is None:
            raise ValueError(
                f"the network has {num_outputs} outputs and the dataset {len(names)} classes; "
                "say which is which with dataset.class_index (class name → output, or a JSON file of that)"
            )
        class_index = {name: position for position, name in enumerate(output_names)}
    elif isinstance(class_index, str):
        class_index = json.loads(Path(class_index).expanduser().read_text(encoding="utf-8"))
    missing = [name for name in names if name not in class_index]
    if missing:
        raise ValueError(f"dataset.class_index has no output for {len(missing)} classes: {', '.join(missing[:10])}")
    return [int(class_index[name]) for name in names]
