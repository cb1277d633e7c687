"""The order of ILSVRC's classes, on which every number of a published network hangs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cam_lightning.dataset.imagenet import imagenet_classes, imagenet_names


def test_the_order_is_that_of_sorted_wordnet_ids() -> None:
    classes = imagenet_classes()
    assert len(classes) == len(set(classes)) == 1000
    assert classes == sorted(classes)
    assert all(len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdigit() for wnid in classes)


@pytest.mark.parametrize(
    ("output", "wnid", "name"),
    [(0, "n01440764", "tench"), (1, "n01443537", "goldfish"), (999, "n15075141", "toilet tissue")],
)
def test_well_known_outputs(output: int, wnid: str, name: str) -> None:
    """The first, the second and the last, as in torchvision's documentation of its weights."""
    assert imagenet_classes()[output] == wnid
    assert imagenet_names()[wnid] == name


def test_every_class_has_a_name() -> None:
    assert list(imagenet_names()) == imagenet_classes()
    assert all(name and name == name.strip() for name in imagenet_names().values())


@pytest.mark.reference
def test_it_agrees_with_the_released_class_names(reference_data: Path) -> None:
    """The authors' list has other synonyms for some, and terriers follow terriers; hence nine in ten."""
    released = json.loads((reference_data / "squeezenet" / "imagenet-simple-labels.json").read_text())
    ours = list(imagenet_names().values())

    def words(name: str) -> set[str]:
        return set(name.lower().replace("-", " ").split())

    same = [bool(words(a) & words(b)) for a, b in zip(ours, released, strict=True)]
    shifted = [bool(words(a) & words(b)) for a, b in zip(ours[1:], released, strict=False)]
    assert sum(same) > 900
    assert sum(shifted) < 500
