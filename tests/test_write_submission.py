"""A run's predictions as a submission file: image numbers, class ids and guesses all in their places."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cam_lightning.write_submission import COLUMNS, convert


def row(image: int, names: list[str], ranks: list[int], boxes: list[list[float]]) -> dict[str, Any]:
    return {
        "id": f"val/ILSVRC2012_val_{image:08}.JPEG",
        "label": 0,
        "names": json.dumps(["a name for people"] * len(names)),
        "class_ids": json.dumps(names),
        "ranks": json.dumps(ranks),
        "boxes": json.dumps(boxes),
    }


def predictions(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "predictions.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """The devkit's order is not that of the WordNet ids."""
    path = tmp_path / "map_clsloc.txt"
    path.write_text("n03 1 fox\nn01 2 dog\nn02 3 cat\n")
    return path


def test_lines_are_image_numbers_and_labels_the_devkit_s(tmp_path: Path, classes: Path) -> None:
    """Image 2 comes first here, and makes two guesses from its first class."""
    source = predictions(
        tmp_path,
        row(2, ["n02", "n01"], [0, 0, 1], [[0, 0, 10, 20], [1, 2, 5, 6], [0, 0, 1, 1]]),
        row(1, ["n01", "n03"], [0, 1], [[0.5, 0, 10, 20], [3, 4, 5, 6]]),
    )
    assert convert(source, classes, tmp_path / "submission.txt") == 2
    assert (tmp_path / "submission.txt").read_text() == "2 0.5 0 9 19 1 3 4 4 5\n3 0 0 9 19 3 1 2 4 5 2 0 0 0 0\n"


def test_what_would_give_wrong_numbers_is_refused(tmp_path: Path, classes: Path) -> None:
    target = tmp_path / "submission.txt"
    box = [[0.0, 0.0, 2.0, 2.0]]
    good = row(1, ["n01"], [0], box)
    for rows, message in (
        ([good, row(3, ["n01"], [0], box)], "has 2 images, but none with the number 2"),
        ([good, good], "does not end in a number of its own"),
        ([good | {"id": "cat.jpg"}], "'cat.jpg' does not end in a number of its own"),
        ([row(1, ["dog"], [0], box)], "has no class 'dog'"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(predictions(tmp_path, *rows), classes, target)
    for column in COLUMNS:
        source = predictions(tmp_path, {key: value for key, value in good.items() if key != column})
        with pytest.raises(ValueError, match=f"has no column '{column}'"):
            convert(source, classes, target)
    assert not target.exists()
