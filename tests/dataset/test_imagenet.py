"""The order of ILSVRC's classes, on which every number of a published network hangs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cam_lightning.dataset.imagenet import class_positions, imagenet_classes, imagenet_names, named_classes


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


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({1: 5, 2: 7, 3: 0}, ["1", "2", "3"]), ({"1": 5, 2: 7, "3": 0}, ["1", "2", "3"]),
        ({0: 5, 1: 7, 2: 0}, ["00000", "00001", "00002"]), ({1.5: 5, 2.5: 7, 10: 0}, ["1.5", "2.5", "10"]),
        ({True: 5, False: 7, None: 0}, ["true", "false", "null"]), ({"b": 7, "a": 5, "c": 0, "d": 99}, ["a", "b", "c"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("as_file", [False, True])
def test_classes_that_are_called_by_numbers(
    given: dict[Any, int], names: list[str], as_file: bool, tmp_path: Path
) -> None:
    if as_file:
        given = {str(name): output for name, output in zip(names, (5, 7, 0), strict=True)}
        (tmp_path / "it's.json").write_text(json.dumps(given), encoding="utf-8-sig")
    index = str(tmp_path / "it's.json") if as_file else given
    assert class_positions(index, names, 10, None) == [5, 7, 0]


def test_a_number_that_may_be_two_classes_is_none_of_them() -> None:
    assert named_classes([1, "1", 1.0, True], ["01", "001", "2"]) == [1, "1", 1.0, True]
    assert named_classes([1, 1.0], ["1", "01"]) == ["1", 1.0]
    assert named_classes(["yes", 2], ["yes", "2"]) == ["yes", "2"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"a": 0, "b": 10}, "gives class b the output 10; the network's are numbered 0 to 9"),
        ({"a": -1, "b": 1}, "gives class a the output -1"), ({"a": "two", "b": 1}, "gives class a the output 'two'"),
        ({"a": 1.5, "b": 1}, "gives class a the output 1.5"), ({"a": None, "b": 1}, "gives class a the output None"),
        ({"a": True, "b": 1}, "gives class a the output True"), ({"a": [1], "b": 1}, r"gives class a the output \[1\]"),
        ({"a": 1, "b": 1}, "gives one output to several classes: a, b"), ({"a": 1}, "has no output for 1 classes: b"),
        ([0, 1], r"dataset\.class_index is \{CLASS: OUTPUT, …\}, or a JSON file of that; got \[0, 1\]"),
        (7, "a JSON file of that; got 7"),
    ],
)  # fmt: skip
def test_outputs_that_cannot_be(given: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        class_positions(given, ["a", "b"], 10, None)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff"])
def test_a_file_of_outputs_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"a\.json is not JSON"):
        class_positions(str(tmp_path / "a.json"), ["a"], 10, None)
    with pytest.raises(FileNotFoundError, match=r"class_index=.*b\.json is no file"):
        class_positions(str(tmp_path / "b.json"), ["a"], 10, None)
