"""Damage that JPEG decoders pass over: blocks of zeros where the compressed pixels should be.

A disk or a download that fails leaves zeros in the middle of a file, and libjpeg decodes them into noise without an
error. In compressed pixels, zero bits mean something only where the code of nothing but zeros is that of "no change":
flat areas of files with Huffman tables made for them. In all others, as long a run of zeros as here does not occur.
Source: ITU-T T.81, annexes B (markers) and C (codes: the first symbol of a table has the code of zeros alone).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

ZEROS = bytes(48)
_START_OF_SCAN, _TABLES, _END = 0xDA, 0xC4, 0xD9
_SEQUENTIAL = (0xC0, 0xC1)
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""What ends a scan: neither a stuffed zero nor a restart."""


class _Segment(NamedTuple):
    marker: int
    start: int
    """Of what the segment holds, behind its length."""
    end: int


def has_zeroed_blocks(data: bytes) -> bool:
    """Whether a JPEG's compressed pixels are interrupted by zeros; False where that cannot be told.

    Told are sequential files, which nearly all photos are.
    """
    if data.find(ZEROS) < 0:
        # Nearly every photo; no more is done for it.
        return False
    first_symbols: dict[int, int] = {}
    is_sequential = False
    for segment in _segments(data):
        if segment.marker == _TABLES:
            first_symbols |= _first_symbols(data[segment.start : segment.end])
        elif segment.marker in _FRAMES:
            is_sequential = segment.marker in _SEQUENTIAL
        elif segment.marker == _START_OF_SCAN and is_sequential:
            end = _scan_end(data, segment.end)
            if data.find(ZEROS, segment.end, end) >= 0:
                selectors = data[segment.start + 2 : segment.start + 1 + 2 * data[segment.start] : 2]
                tables = {table for each in selectors for table in (each >> 4, 0x10 | each & 15)}
                if any(first_symbols.get(table) for table in tables):
                    return True
    return False


def _segments(data: bytes) -> Iterator[_Segment]:
    """The segments up to the end of the image; scans are stepped over."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == _END:
            return
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield _Segment(marker, position + 4, end)
        position = _scan_end(data, end) if marker == _START_OF_SCAN else end


def _scan_end(data: bytes, start: int) -> int:
    found = _MARKER.search(data, start)
    return found.end() - 2 if found else len(data)


def _first_symbols(tables: bytes) -> dict[int, int]:
    """Of each Huffman table, by class and number (DC 0, 1, …; AC 0x10, 0x11, …), the symbol whose code is zeros."""
    first: dict[int, int] = {}
    position = 0
    while position + 17 < len(tables):
        first[tables[position]] = tables[position + 17]
        position += 17 + sum(tables[position + 1 : position + 17])
    return first
