"""Boxes on images without the object, against a plain loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from cam_lightning.metric.false_boxes import FalseBoxes
from cam_lightning.metric.gt_known_error import GtKnownError
from cam_lightning.metric.localization_error import LocalizationError

NEGATIVE = 4


@pytest.fixture
def negatives(evaluation: Any) -> Any:
    """The random evaluation, in which one class has no boxes."""
    truth = evaluation.truth
    is_negative_B = truth.label_B == NEGATIVE
    assert 5 < int(is_negative_B.sum()) < 60
    return evaluation._replace(truth=truth._replace(num_boxes_B=truth.num_boxes_B.masked_fill(is_negative_B, 0)))


def test_equals_a_plain_loop(negatives: Any) -> None:
    drawn, missed = [], []
    for label, best in zip(
        negatives.truth.label_B.tolist(), negatives.localization.classes_BT[:, 0].tolist(), strict=True
    ):
        if label == NEGATIVE:
            drawn.append(best != NEGATIVE)
        else:
            missed.append(best == NEGATIVE)
    metric = FalseBoxes(NEGATIVE)
    metric.update(*negatives)
    assert metric.compute() == {
        "false_boxes": sum(drawn) / len(drawn),
        "false_boxes/num_images": len(drawn),
        "missed_boxes": sum(missed) / len(missed),
    }
    assert metric.compute().keys() == metric.specs().keys()
    assert 0 < sum(drawn) < len(drawn)
    assert 0 < sum(missed) < len(missed)


def test_errors_of_boxes_are_of_images_with_the_object_alone(negatives: Any) -> None:
    rows = [b for b, label in enumerate(negatives.truth.label_B.tolist()) if label != NEGATIVE]
    for make in (LocalizationError, GtKnownError):
        every, alone = make(), make()
        every.update(*negatives)
        alone.update(*negatives.rows(rows))
        assert every.compute() == alone.compute()


def test_any_split_over_batches_and_ranks_is_bit_identical(negatives: Any, check_every_split: Any) -> None:
    def update(metric: FalseBoxes, rows: Sequence[int]) -> None:
        metric.update(*negatives.rows(rows))

    check_every_split(lambda: FalseBoxes(NEGATIVE), update, 120)


def test_without_such_a_class_or_its_images_nothing_is_reported(evaluation: Any) -> None:
    for negative in (None, 99):
        metric = FalseBoxes(negative)
        metric.update(*evaluation)
        assert metric.compute() == {}


def test_what_cannot_be_is_said(evaluation: Any) -> None:
    for wrong in (-1, ""):
        with pytest.raises(
            ValueError, match=rf"negative is a class's name or label, 0 or above, or null; got {wrong!r}"
        ):
            FalseBoxes(wrong)
    truth = evaluation.truth._replace(label_B=torch.full_like(evaluation.truth.label_B, 2))
    with pytest.raises(ValueError, match=r"negative=2 is the class of images without the object, and one of them has"):
        FalseBoxes(2).update(evaluation.localization, truth)


NAMES = ["ant", "bee", "cow", "dog", "none of them", "elk"]


def test_a_class_is_named_as_the_dataset_names_it(negatives: Any) -> None:
    by_label, by_name = FalseBoxes(NEGATIVE), FalseBoxes("none of them")
    for metric in (by_label, by_name):
        metric.know_classes(NAMES)
        metric.update(*negatives)
    assert by_name.compute() == by_label.compute() != {}
    # Another training's classes are asked for again.
    by_name.know_classes(NAMES[::-1])
    assert by_name.label == 1


def test_a_class_that_there_is_not_is_said(negatives: Any) -> None:
    with pytest.raises(ValueError, match=r"is none of the dataset's 6 classes; there is: none of them, ant"):
        FalseBoxes("none of then").know_classes(NAMES)
    with pytest.raises(
        ValueError, match=r"negative=6 is none of the dataset's 6 classes; there is: ant, bee, cow, dog, elk"
    ):
        FalseBoxes(6).know_classes(NAMES)
    with pytest.raises(ValueError, match=r"negative=ant: the classes' names are not known here: give its label"):
        FalseBoxes("ant").update(*negatives)
    nothing = FalseBoxes()
    nothing.know_classes(NAMES)
    nothing.update(*negatives)
    assert nothing.compute() == {}
