"""The 1,000 classes of ILSVRC in the one order that networks' outputs have: sorted WordNet ids."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


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
