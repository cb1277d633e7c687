"""The CLS-LOC devkit's two errors, by hand, against its loops, and on the organisers' own boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cam_lightning.dataset.format.clsloc_files import read_blacklist, read_boxes, read_labels, read_predictions
from cam_lightning.functional.devkit import Guesses, TrueBoxes, classification_errors, localization_errors

TABLE = {
    "classification": ["0.4168", "0.3096", "0.2454", "0.2094", "0.1888"],
    "localization": ["0.4888", "0.3946", "0.3382", "0.3066", "0.2904"],
    "localization, blacklist": ["0.4906716418", "0.3955223881", "0.3397595357", "0.3074212272", "0.2912520730"],
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
    guesses: Guesses, truth: np.ndarray, boxes: TrueBoxes, num_guesses: int, blacklist: list[int]
) -> tuple[float, float]:
    """The devkit's loops over images, guesses and boxes."""
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
            slow_overlap(guesses.box_NG4[image, g].tolist(), boxes.box_M4[row].tolist()) >= 0.5
            for g in right
            for row in own[image]
        )
    return wrong / len(truth), misplaced / (len(truth) - len(blacklist))


def slow_overlap(bb: list[float], gt: list[float]) -> float:
    wide = min(bb[2], gt[2]) - max(bb[0], gt[0]) + 1
    high = min(bb[3], gt[3]) - max(bb[1], gt[1]) + 1
    if wide <= 0 or high <= 0:
        return -1
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (bb, gt)]
    return wide * high / (sum(areas) - wide * high)


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
@pytest.mark.parametrize("name", TABLE)
def test_the_organisers_table(organisers: tuple[Guesses, np.ndarray, TrueBoxes, np.ndarray], name: str) -> None:
    """All fifteen numbers to their last digit, and the devkit's loops to the last bit."""
    ours, truth, boxes, blacklisted = organisers
    left_out = blacklisted if "blacklist" in name else None
    skipped = [] if left_out is None else np.flatnonzero(left_out).tolist()
    kind = 0 if name == "classification" else 1
    errors = localization_errors(ours, truth, boxes, left_out) if kind else classification_errors(ours.label_NG, truth)
    assert [printed(error, like) for error, like in zip(errors, TABLE[name], strict=True)] == TABLE[name]
    for g in range(1, 6):
        assert slow_errors(ours, truth, boxes, g, skipped)[kind] == errors[g - 1]
