"""Features in a file that only grows: a record per image, under a key that says what it was made of.

A record is a key of 16 bytes, a checksum of all else in it, and K float32 numbers, in the machine's order. So a file
tells by itself which of its records are whole: what a killed process left half written is never read, and the next
writer goes on behind the last whole one. Readers map the file into memory and need no lock.
"""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cam_lightning.run.lock import try_lock

log = logging.getLogger(__name__)

KEY_BYTES = 16
POLL_SECONDS = 0.5


class FeatureStore:
    """One file of features of K units, and where in it each key is."""

    def __init__(self, path: Path, units: int) -> None:
        self.path = path
        self.units = units
        self._record = np.dtype([("key", np.uint8, KEY_BYTES), ("check", np.uint32), ("features", np.float32, units)])
        self._row_of: dict[bytes, int] = {}
        self._seen = 0
        self.refresh()

    def __contains__(self, key: bytes) -> bool:
        return key in self._row_of

    def __len__(self) -> int:
        """How many images there are features of."""
        return len(self._row_of)

    def refresh(self) -> None:
        """Looks at what was added since, by whomever."""
        records = self._records()
        for row in range(min(self._seen, len(records)), len(records)):
            key, check = records["key"][row].tobytes(), int(records["check"][row])
            if check == _checksum(key, records["features"][row]):
                self._row_of[key] = row
        self._seen = len(records)

    def read(self, keys: Sequence[bytes]) -> np.ndarray:
        """float32 (N, K) of these keys, in their order; raises KeyError for one that there is not."""
        rows = [self._row_of[key] for key in keys]
        return np.array(self._records()["features"][rows], np.float32).reshape(len(rows), self.units)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within, this process alone adds; it waits until no other does.

        The operating system gives the lock back when a process ends, however it ends.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock_path = self.path.with_suffix(".lock")
        lock = try_lock(lock_path)
        if lock is None:
            log.info("another run is writing %s: waiting for it", self.path)
        while lock is None:
            time.sleep(POLL_SECONDS)
            lock = try_lock(lock_path)
        with lock:
            if self.path.is_file():
                # What a process that was killed left of its last record.
                os.truncate(self.path, self.path.stat().st_size // self._record.itemsize * self._record.itemsize)
            self.refresh()
            yield

    def append(self, keys: Sequence[bytes], features_NK: np.ndarray) -> None:
        """Adds images; to be called within `writing`. Raises OSError where the disk is full."""
        records = np.zeros(len(keys), self._record)
        records["key"] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)
        records["features"] = features_NK
        records["check"] = [_checksum(key, row) for key, row in zip(keys, records["features"], strict=True)]
        with self.path.open("ab") as file:
            file.write(records.tobytes())
        self.refresh()

    def _records(self) -> np.ndarray:
        size = self.path.stat().st_size if self.path.is_file() else 0
        count = size // self._record.itemsize
        # An empty file cannot be mapped.
        return np.memmap(self.path, self._record, "r", shape=(count,)) if count else np.zeros(0, self._record)


def _checksum(key: bytes, features_K: np.ndarray) -> int:
    return zlib.crc32(features_K.tobytes(), zlib.crc32(key))
