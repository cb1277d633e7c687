"""Subsets of a split: which images, with which labels, and that pixels follow."""

from __future__ import annotations

import hashlib
import time
import unicodedata

import numpy as np
import pytest

from cam_lightning.dataset.pipeline.split import (
    ImageSplit,
    RawImage,
    Subset,
    fingerprint,
    first_per_class,
    hold_out,
    hold_out_by_id,
    keep_classes,
)
from cam_lightning.dataset.pipeline.strings import PackedStrings, SelectedStrings


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


def named(ids: list[str], labels: list[int] | None = None) -> Numbered:
    split = Numbered([0] * len(ids) if labels is None else labels)
    split.ids = ids
    return split


def held_ids(ids: list[str], fraction: float = 0.2, seed: int = 0, labels: list[int] | None = None) -> set[str]:
    kept, held = hold_out_by_id(named(ids, labels), fraction, seed)
    assert sorted([*kept.ids, *held.ids]) == sorted(ids)
    return set(held.ids)


@pytest.mark.parametrize("added", ["cat/000.jpg", "cat/0999.jpg", "zebra/1.jpg"])
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_a_file_that_is_added_or_removed_moves_no_other(added: str, fraction: float) -> None:
    """Sorted before, between and behind the others; every one of the first forty removed."""
    ids = sorted(f"cat/{number:04}.jpg" for number in range(120))
    labels = [0] * len(ids)
    before = held_ids(ids, fraction, labels=labels)
    more = sorted([*ids, added])
    assert held_ids(more, fraction, labels=[int(identity[0] == "z") for identity in more]) - {added} == before
    for number in range(40):
        fewer = [identity for identity in ids if identity != ids[number]]
        assert held_ids(fewer, fraction) == before - {ids[number]}


def test_nothing_that_was_trained_on_is_tested_when_a_small_class_grows() -> None:
    """Of any number of images, classes that chance gave no test image included."""
    wrong = total = 0
    for number in range(300):
        ids = [f"{number}/{file}.jpg" for file in range(2)]
        for size in range(2, 12):
            before, ids = held_ids(ids), [f"{number}/{file}.jpg" for file in range(size + 1)]
            wrong += bool((held_ids(ids) & set(ids[:-1])) - before)
            total += 1
    # Only where chance would have held out all of a class: 4 % of those of two images, 0.8 % of three, …
    assert total == 3000
    assert wrong < 20


def test_about_the_share_of_every_class_is_held_out() -> None:
    labels = np.repeat([0, 1, 2], [4000, 1000, 400]).tolist()
    ids = [f"{label}/{index}" for index, label in enumerate(labels)]
    _, held = hold_out_by_id(named(ids, labels), 0.2, 0)
    share_C = np.bincount(held.label_N) / np.array([4000, 1000, 400])
    # Three standard deviations of chance.
    assert (np.abs(share_C - 0.2) < 3 * np.sqrt(0.2 * 0.8 / np.array([4000, 1000, 400]))).all()
    assert held_ids(ids, labels=labels) != held_ids(ids, seed=1, labels=labels)


@pytest.mark.parametrize(("members", "fraction"), [(2, 0.001), (2, 0.999), (3, 0.999), (9, 0.001)])
def test_both_sides_get_an_image_by_id_too(members: int, fraction: float) -> None:
    kept, held = hold_out_by_id(Numbered([0] * members + [1]), fraction, seed=0)
    assert min(np.bincount(kept.label_N)[0], np.bincount(held.label_N)[0]) == 1
    assert kept.label_N.tolist().count(1) == 1, "a class of one image is trained on"


def test_the_drawing_is_the_same_for_ever_and_on_every_system() -> None:
    """By a plain loop here, and with names as macOS writes them."""
    ids = [f"caf\u00e9/{number}.jpg" for number in range(50)]

    def rank(identity: str) -> float:
        digest = hashlib.blake2b(b"7\0" + identity.encode(), digest_size=8).digest()
        return sum(byte << (8 * place) for place, byte in enumerate(digest)) / 2**64

    assert held_ids(ids, seed=7) == {identity for identity in ids if rank(identity) < 0.2}
    decomposed = [unicodedata.normalize("NFD", identity) for identity in ids]
    assert decomposed != ids
    assert {unicodedata.normalize("NFC", identity) for identity in held_ids(decomposed, seed=7)} == held_ids(
        ids, seed=7
    )


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_share_by_id_outside_of_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="lies between 0 and 1; got"):
        hold_out_by_id(Numbered([0, 0]), fraction, seed=0)


def test_a_fingerprint_is_that_of_the_ids_in_their_order_however_they_are_kept() -> None:
    ids = ["b/\u00e4.jpg", "", "a\udce9.jpg", "a/b", "x" * 300, "a"]
    expected = hashlib.sha256(b"b/\xc3\xa4.jpg\0\0a\xe9.jpg\0a/b\0" + b"x" * 300 + b"\0a\0").hexdigest()
    packed = PackedStrings.pack(ids)
    twisted = SelectedStrings(PackedStrings.pack(ids[::-1]), np.array([5, 4, 3, 2, 1, 0]))
    deeper = SelectedStrings(SelectedStrings(PackedStrings.pack([*ids, "no"]), np.arange(6)[::-1]), np.arange(6)[::-1])
    for kept in (ids, packed, twisted, deeper, SelectedStrings(ids, np.arange(6))):
        assert fingerprint(kept) == expected
    others = [ids[::-1], ids[:-1], [*ids[:3], "a/", "b", *ids[4:]], [*ids, ""]]
    assert len({expected, *map(fingerprint, others)}) == 5
    assert fingerprint([]) == fingerprint(PackedStrings.pack([])) == hashlib.sha256().hexdigest()


def test_the_fingerprint_of_a_million_ids_is_quick() -> None:
    ids = PackedStrings.pack(f"train/n{number % 1000:08}/n{number:08}.JPEG" for number in range(1_000_000))
    subset = SelectedStrings(ids, np.random.default_rng(0).permutation(1_000_000)[:900_000])
    began = time.process_time()
    assert fingerprint(ids) != fingerprint(subset)
    assert time.process_time() - began < 5, "as strings, one by one, they take longer"


def test_how_many_images_have_boxes_follows_a_subset() -> None:
    class Boxed(Numbered):
        @property
        def num_boxes_N(self) -> np.ndarray:
            return np.array([0, 2, 1, 0])

    whole = Boxed([0, 1, 0, 1])
    assert whole.num_with_boxes == 2
    assert Subset(whole, np.array([3, 1, 0])).num_with_boxes == 1
    assert keep_classes(Subset(whole, np.array([3, 1, 2])), [0]).num_with_boxes == 1
    assert Numbered([0]).num_with_boxes is None
    assert Subset(Numbered([0]), np.array([0])).num_with_boxes is None
