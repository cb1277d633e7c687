"""The CLS-LOC devkit's two errors, by hand, against its loops, and on the organisers' own boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cam_lightning.dataset.format.clsloc_files import read_blacklist, read_boxes, read_labels, read_predictions
from cam_lightning.functional.devkit import Guesses, TrueBoxes, classification_errors, localization_errors

TABLE = {
    "classification": ["0.4168", "0.3096", "0.2454", "0.2094", "0.1888"],
    "localization": ["0.4436", "0.3392", "0.2788", "0.2438", "0.2244"],
    "localization, blacklist": ["0.4454809287", "0.3399668325", "0.2802653400", "0.2444029851", "0.2249170813"],
}
"""What README of the reference data says that the organisers' script prints."""


def guesses(*images: list[tuple[int, ...]]) -> Guesses:
    """One list of `(label, xmin, ymin, xmax, ymax)` per image."""
    rows = np.array(images, np.float64)
    return Guesses(rows[:, :, 0].astype(np.int64), rows[:, :, 1:])


def true_boxes(*rows: tuple[int, ...]) -> TrueBoxes:
    """`(image from 0, label, xmin, ymin, xmax, ymax)`."""
    table = np.array(rows, np.float64)
    return TrueBoxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:])


def slow_errors(
    guesses: Guesses, truth: np.ndarray, boxes: TrueBoxes, num_guesses: int, blacklist: list[int], number: Any = float
) -> tuple[float, float]:
    """The devkit's loops over images, guesses and boxes; `number` is the type that arithmetic on a box has."""
    wrong = misplaced = 0
    own: list[list[int]] = [[] for _ in truth]
    for row, image in enumerate(boxes.image_M):
        if boxes.label_M[row] == truth[image]:
            own[image].append(row)
    for image, label in enumerate(truth):
        right = [g for g in range(num_guesses) if guesses.label_NG[image, g] == label]
        wrong += not right
        if image in blacklist:
            continue
        misplaced += not any(
            slow_overlap(guesses.box_NG4[image, g].tolist(), boxes.box_M4[row].tolist(), number) >= 0.5
            for g in right
            for row in own[image]
        )
    return wrong / len(truth), misplaced / (len(truth) - len(blacklist))


def slow_overlap(bb: list[float], gt: list[float], number: Any) -> float:
    if number is not float:
        return integer_overlap(bb, gt)
    wide = min(bb[2], gt[2]) - max(bb[0], gt[0]) + 1
    high = min(bb[3], gt[3]) - max(bb[1], gt[1]) + 1
    if wide <= 0 or high <= 0:
        return -1
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (bb, gt)]
    return wide * high / (sum(areas) - wide * high)


def integer_overlap(bb: list[float], gt: list[float]) -> float:
    """The same in Octave, where a box is uint8 or uint16: results are rounded and end at the type's largest value."""
    largest = 255 if max(gt) <= 255 else 65535

    def to_type(value: float) -> float:
        return min(max(np.floor(value + 0.5), 0), largest)

    low = [to_type(max(a, b)) for a, b in zip(bb[:2], gt[:2], strict=True)]
    high = [to_type(min(a, b)) for a, b in zip(bb[2:], gt[2:], strict=True)]
    sides = [to_type(to_type(b - a) + 1) for a, b in zip(low, high, strict=True)]
    common = to_type(sides[0] * sides[1])
    own_area = to_type(to_type(to_type(gt[2] - gt[0]) + 1) * to_type(to_type(gt[3] - gt[1]) + 1))
    union = to_type(to_type((bb[2] - bb[0] + 1) * (bb[3] - bb[1] + 1) + own_area) - common)
    return to_type(common / union) if union else float("inf")


def test_by_hand() -> None:
    """Four images with three guesses each: the box of image 2 is hit at an IoU of exactly 0.5, that of 3 just not."""
    ours = guesses(
        [(7, 0, 0, 9, 9), (1, 0, 0, 9, 9), (2, 0, 0, 0, 0)],
        [(2, 50, 50, 60, 60), (2, 0, 0, 9, 4), (3, 0, 0, 0, 0)],
        [(3, 0, 0, 9, 4), (4, 0, 0, 9, 10), (4, 0, 0, 9, 10)],
        [(5, 0, 0, 9, 9), (6, 0, 0, 9, 9), (7, 0, 0, 9, 9)],
    )
    truth = np.array([1, 2, 3, 4])
    boxes = true_boxes(
        (0, 1, 0, 0, 9, 9),
        (1, 2, 0, 0, 9, 9),
        (2, 3, 0, 0, 9, 10),
        (2, 4, 0, 0, 9, 4),  # another class's box, which the first guess would hit
        (3, 4, 0, 0, 9, 9),
    )
    assert classification_errors(ours.label_NG, truth).tolist() == [2 / 4, 1 / 4, 1 / 4]
    assert localization_errors(ours, truth, boxes).tolist() == [4 / 4, 2 / 4, 2 / 4]
    blacklisted = np.array([False, False, False, True])
    assert localization_errors(ours, truth, boxes, blacklisted).tolist() == [3 / 3, 1 / 3, 1 / 3]


def test_any_of_several_boxes_counts_and_inverted_ones_meet_nothing() -> None:
    ours = guesses([(1, 20, 20, 29, 29), (1, 9, 9, 0, 0)], [(2, 9, 9, 0, 0), (2, 5, 5, 5, 5)])
    boxes = true_boxes((1, 2, 5, 5, 5, 5), (0, 1, 0, 0, 9, 9), (0, 1, 20, 20, 29, 29))
    assert localization_errors(ours, np.array([1, 2]), boxes).tolist() == [1 / 2, 0]


@pytest.mark.parametrize("seed", range(8))
def test_random_small_data_with_ties_against_the_devkit_s_loops(seed: int) -> None:
    """Coordinates in 0..5 and three classes: equal labels, boxes and overlaps are common."""
    random = np.random.default_rng(seed)
    truth = random.integers(1, 4, 30)
    low, side = random.integers(0, 4, (30, 5, 2)), random.integers(0, 3, (30, 5, 2))
    ours = Guesses(random.integers(0, 4, (30, 5)), np.concatenate([low, low + side], axis=2).astype(np.float64))
    image = np.concatenate([np.arange(30), random.integers(0, 30, 40)])
    label = np.where(np.arange(70) < 30, truth[image], random.integers(1, 4, 70))
    low, side = random.integers(0, 4, (70, 2)), random.integers(0, 3, (70, 2))
    order = random.permutation(70)
    boxes = TrueBoxes(image[order], label[order], np.concatenate([low, low + side], axis=1)[order].astype(np.float64))
    blacklist = random.choice(30, 6, replace=False).tolist()
    blacklisted = np.isin(np.arange(30), blacklist)
    for g in range(1, 6):
        wrong, misplaced = slow_errors(ours, truth, boxes, g, blacklist)
        assert classification_errors(ours.label_NG, truth)[g - 1] == wrong
        assert localization_errors(ours, truth, boxes, blacklisted)[g - 1] == misplaced
        assert localization_errors(ours, truth, boxes)[g - 1] == slow_errors(ours, truth, boxes, g, [])[1]


def test_an_image_without_a_box_of_its_class_stops_unless_blacklisted() -> None:
    ours = guesses([(1, 0, 0, 9, 9)], [(2, 0, 0, 9, 9)])
    boxes = true_boxes((0, 1, 0, 0, 9, 9), (1, 3, 0, 0, 9, 9))
    truth = np.array([1, 2])
    with pytest.raises(ValueError, match="image 2 has no box of its class 2"):
        localization_errors(ours, truth, boxes)
    assert localization_errors(ours, truth, boxes, np.array([False, True])).tolist() == [0]
    with pytest.raises(ValueError, match="all are blacklisted"):
        localization_errors(ours, truth, boxes, np.array([True, True]))


@pytest.fixture(scope="module")
def organisers(reference_data: Path) -> tuple[Guesses, np.ndarray, TrueBoxes, np.ndarray]:
    folder = reference_data / "ilsvrc-clsloc-reference"
    truth = read_labels(folder / "gt.txt")
    boxes = read_boxes(folder / "boxes.csv", truth)
    return read_predictions(folder / "pred.txt"), truth, boxes, read_blacklist(folder / "blacklist.txt", len(truth))


def printed(error: float, like: str) -> str:
    return f"{error:.{len(like) - 2}f}"


@pytest.mark.reference
def test_the_organisers_classification_errors(organisers: tuple[Guesses, np.ndarray, TrueBoxes, np.ndarray]) -> None:
    ours, truth, _, _ = organisers
    errors = classification_errors(ours.label_NG, truth)
    assert [printed(error, like) for error, like in zip(errors, TABLE["classification"], strict=True)] == TABLE[
        "classification"
    ]


@pytest.mark.reference
@pytest.mark.parametrize("name", ["localization", "localization, blacklist"])
def test_the_organisers_localization_errors(
    organisers: tuple[Guesses, np.ndarray, TrueBoxes, np.ndarray], name: str
) -> None:
    """All ten numbers of the table in Octave's arithmetic, and why they are not the exact ones.

    A MAT file keeps a matrix of doubles in the smallest integers that hold it, and marks it as doubles. The table
    comes out, to the last digit, if that mark is lost: Octave then cuts areas off at 255 or 65535, so that large
    boxes hit almost always. In doubles, the arithmetic that the script's XML reader gives it, the same loops give
    what `exact` gives.
    """
    ours, truth, boxes, blacklisted = organisers
    skipped = np.flatnonzero(blacklisted).tolist() if "blacklist" in name else []
    left_out = blacklisted if skipped else None
    in_octave = localization_errors(ours, truth, boxes, left_out, "octave")
    assert [printed(error, like) for error, like in zip(in_octave, TABLE[name], strict=True)] == TABLE[name]
    exact = localization_errors(ours, truth, boxes, left_out)
    for g in range(1, 6):
        assert slow_errors(ours, truth, boxes, g, skipped, number=np.uint16)[1] == in_octave[g - 1]
        assert slow_errors(ours, truth, boxes, g, skipped)[1] == exact[g - 1]


def test_an_unknown_arithmetic_is_an_error() -> None:
    with pytest.raises(ValueError, match="exact, octave; got 'double'"):
        localization_errors(
            guesses([(1, 0, 0, 9, 9)]), np.array([1]), true_boxes((0, 1, 0, 0, 9, 9)), arithmetic="double"
        )


def test_large_boxes_in_small_integers_are_hit_by_boxes_that_miss_them() -> None:
    """Of 100 × 100 pixels each, 2 × 100 in common: 200 of 19,800 in doubles, in 8 bits 200 of 255 - 200."""
    ours, truth = guesses([(1, 0, 0, 99, 99)]), np.array([1])
    boxes = true_boxes((0, 1, 98, 0, 197, 99))
    assert localization_errors(ours, truth, boxes).tolist() == [1]
    assert localization_errors(ours, truth, boxes, arithmetic="octave").tolist() == [0]
