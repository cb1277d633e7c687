"""Subsets of a split: which images, with which labels, and that pixels follow."""

from __future__ import annotations

import numpy as np
import pytest

from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage, Subset, first_per_class, hold_out, keep_classes


class Numbered(ImageSplit):
    """Image i is one pixel of value i."""

    def __init__(self, labels: list[int]) -> None:
        self.label_N = np.array(labels, dtype=np.int64)
        self.ids = [f"image {index}" for index in range(len(labels))]

    def read(self, index: int) -> RawImage:
        return RawImage(np.full((1, 1, 3), index, np.uint8), np.zeros((0, 4), np.float32))


def read_all(split: ImageSplit) -> list[int]:
    """The numbers of its images, and that ids and labels belong to them."""
    numbers = [int(split.read(index).image_HW3[0, 0, 0]) for index in range(len(split))]
    assert list(split.ids) == [f"image {number}" for number in numbers]
    assert len(split.label_N) == len(split)
    return numbers


def test_a_subset_of_a_subset_reads_the_right_images() -> None:
    whole = Numbered([0, 1, 2, 3, 4])
    inner = Subset(Subset(whole, np.array([4, 2, 0])), np.array([2, 0]))
    assert read_all(inner) == [0, 4]
    assert inner.label_N.tolist() == [0, 4]


def test_kept_classes_are_numbered_in_the_order_given() -> None:
    kept = keep_classes(Numbered([0, 1, 2, 1, 0, 2]), [2, 0])
    assert read_all(kept) == [0, 2, 4, 5]
    assert kept.label_N.tolist() == [1, 0, 1, 0]
    assert kept.label_N.dtype == np.int64


def test_no_class_kept_is_an_empty_split() -> None:
    assert len(keep_classes(Numbered([0, 1]), [])) == 0


def test_first_per_class_keeps_the_split_s_order() -> None:
    some = first_per_class(Numbered([1, 0, 1, 1, 0, 2]), 2)
    assert read_all(some) == [0, 1, 2, 4, 5]
    assert some.label_N.tolist() == [1, 0, 1, 0, 2]


def test_held_out_images_are_a_share_of_every_class() -> None:
    labels = [0] * 20 + [1] * 50 + [2] * 5
    whole = Numbered(np.random.default_rng(0).permutation(labels).tolist())
    kept, held = hold_out(whole, 0.1, seed=0)
    assert sorted(read_all(kept) + read_all(held)) == list(range(75))
    assert np.bincount(held.label_N).tolist() == [2, 5, 1]
    assert read_all(held) == sorted(read_all(held))
    for split in (kept, held):
        assert split.label_N.tolist() == [int(whole.label_N[number]) for number in read_all(split)]


def test_held_out_images_depend_on_the_seed_alone() -> None:
    whole = Numbered([0, 1] * 30)
    chosen = [tuple(read_all(hold_out(whole, 0.2, seed)[1])) for seed in (0, 1, 2, 0)]
    assert chosen[0] == chosen[3]
    assert len(set(chosen)) == 3


@pytest.mark.parametrize(
    ("members", "fraction", "expected"),
    [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (3, 0.99, 2), (10, 0.25, 2)],
)
def test_both_sides_get_an_image_where_a_class_has_two(members: int, fraction: float, expected: int) -> None:
    """10 · 0.25 = 2.5 goes to the even number, as `round` does."""
    kept, held = hold_out(Numbered([0] * members), fraction, seed=0)
    assert (len(kept), len(held)) == (members - expected, expected)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_share_outside_of_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"dataset\.val_fraction lies between 0 and 1; got"):
        hold_out(Numbered([0, 0]), fraction, seed=0)
