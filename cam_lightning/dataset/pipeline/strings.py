"""Many strings as two arrays: a million file names as Python objects would be copied into every worker.

A worker is a fork, which shares its parent's memory until it is written to; counting references writes to every
Python object that is looked at. Arrays are not counted piece by piece, so they stay shared.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np


class StringSequence(Sequence[str]):
    """A sequence of strings that makes each when it is asked for; equal to any sequence of the same strings."""

    @abstractmethod
    def string(self, index: int) -> str:
        """The string at a position in 0..len - 1."""

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return SelectedStrings(self, np.arange(len(self))[index])
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"there is no string {index} of {len(self)}")
        return self.string(position)

    def __iter__(self) -> Iterator[str]:
        return map(self.string, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class PackedStrings(StringSequence):
    """Strings in one buffer of bytes: string i is `bytes_M[start_N1[i] : start_N1[i + 1]]`, in UTF-8.

    File names that are not UTF-8 keep their bytes, as `os.fsdecode` has them.
    """

    def __init__(self, bytes_M: np.ndarray, start_N1: np.ndarray) -> None:
        self.bytes_M = bytes_M
        self.start_N1 = start_N1

    @classmethod
    def pack(cls, strings: Iterable[str]) -> PackedStrings:
        buffer, start = bytearray(), array("q", [0])
        for string in strings:
            buffer += string.encode("utf-8", "surrogateescape")
            start.append(len(buffer))
        return cls(np.frombuffer(buffer, np.uint8), np.frombuffer(start, np.int64))

    def string(self, index: int) -> str:
        start, end = self.start_N1[index : index + 2].tolist()
        return self.bytes_M[start:end].tobytes().decode("utf-8", "surrogateescape")

    def __len__(self) -> int:
        return len(self.start_N1) - 1


class SelectedStrings(StringSequence):
    """Some strings of a sequence, in the order of `index_N`."""

    def __init__(self, strings: Sequence[str], index_N: np.ndarray) -> None:
        self.strings = strings
        self.index_N = index_N

    def string(self, index: int) -> str:
        return self.strings[int(self.index_N[index])]

    def __len__(self) -> int:
        return len(self.index_N)


STRINGS_AT_ONCE = 1 << 16


def terminated(strings: Sequence[str]) -> Iterator[bytes]:
    """The bytes of all strings, in UTF-8, each followed by a zero byte; in pieces that hold many strings.

    Of packed strings, and selections of them, no string is made: a million take a fraction of a second.
    """
    index_N = np.arange(len(strings))
    while isinstance(strings, SelectedStrings):
        index_N, strings = np.asarray(strings.index_N)[index_N], strings.strings
    for first in range(0, len(index_N), STRINGS_AT_ONCE):
        chosen = index_N[first : first + STRINGS_AT_ONCE]
        if isinstance(strings, PackedStrings):
            yield _gathered(strings, chosen)
        else:
            yield b"".join(strings[i].encode("utf-8", "surrogateescape") + b"\0" for i in chosen.tolist())


def _gathered(strings: PackedStrings, index_N: np.ndarray) -> bytes:
    start_N, end_N = strings.start_N1[index_N], strings.start_N1[index_N + 1]
    length_N = end_N - start_N
    # Where each string begins in the result, where every one before it is a byte longer.
    begin_N = np.cumsum(length_N + 1) - (length_N + 1)
    is_text_M = np.ones(int((length_N + 1).sum()), np.bool_)
    is_text_M[begin_N + length_N] = False
    inside_M = np.arange(int(length_N.sum())) - np.repeat(np.cumsum(length_N) - length_N, length_N)
    result_M = np.zeros(len(is_text_M), np.uint8)
    result_M[is_text_M] = strings.bytes_M[np.repeat(start_N, length_N) + inside_M]
    return result_M.tobytes()
