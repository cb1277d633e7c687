"""Packed strings are a sequence like any other, in two arrays."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from cam_lightning.dataset.pipeline.strings import PackedStrings, SelectedStrings

NAMES = ["a/b.jpg", "", "it's, a = ü.JPEG", "\u2028", os.fsdecode(b"not utf-8 \xff\xfe.png"), "last"]


def test_strings_come_back_as_they_were() -> None:
    packed = PackedStrings.pack(iter(NAMES))
    assert len(packed) == 6
    assert list(packed) == NAMES
    assert [packed[i] for i in range(-6, 6)] == NAMES * 2
    assert os.fsencode(packed[4]) == b"not utf-8 \xff\xfe.png"
    assert pickle.loads(pickle.dumps(packed)) == NAMES


def test_none_and_one() -> None:
    assert list(PackedStrings.pack([])) == []
    assert list(PackedStrings.pack([""])) == [""]


@pytest.mark.parametrize("index", [6, -7, 100])
def test_there_is_nothing_beyond_the_end(index: int) -> None:
    """Iteration by position ends with IndexError; two offsets are needed for the last string."""
    with pytest.raises(IndexError, match=f"no string {index} of 6"):
        PackedStrings.pack(NAMES)[index]


def test_slices_and_selections() -> None:
    packed = PackedStrings.pack(NAMES)
    assert list(packed[1:4]) == NAMES[1:4]
    assert list(packed[::-2]) == NAMES[::-2]
    chosen = SelectedStrings(packed, np.array([5, 0, 0]))
    assert list(chosen) == ["last", "a/b.jpg", "a/b.jpg"]
    assert chosen[-1] == "a/b.jpg"
    assert list(SelectedStrings(chosen, np.array([0]))) == ["last"]


def test_equal_to_any_sequence_of_the_same_strings() -> None:
    packed = PackedStrings.pack(NAMES)
    assert packed == NAMES
    assert NAMES == packed  # noqa: SIM300 (a list asks the other side)
    assert packed == PackedStrings.pack(NAMES)
    assert packed != NAMES[:-1]
    assert packed != [*NAMES[:-1], "other"]
    assert PackedStrings.pack(["a"]) != "a"
    assert "last" in packed
    assert packed.index("last") == 5


def test_a_million_names_take_little_more_than_their_bytes() -> None:
    packed = PackedStrings.pack(f"n{i:08d}" for i in range(100_000))
    assert packed.bytes_M.nbytes == 900_000
    assert packed.start_N1.nbytes == 800_008
