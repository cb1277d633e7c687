"""The features' file: what was written whole is read, what was not is not, and two processes may write."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from cam_lightning.feature.store import KEY_BYTES, FeatureStore

UNITS = 5
FORKS = multiprocessing.get_context("fork")


def key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES, "little")


def features(*numbers: int) -> np.ndarray:
    return np.array([[number + unit / 8 for unit in range(UNITS)] for number in numbers], np.float32)


def filled(path: Path, *numbers: int) -> FeatureStore:
    store = FeatureStore(path, UNITS)
    with store.writing():
        store.append([key(number) for number in numbers], features(*numbers))
    return store


def test_rows_come_back_in_any_order(tmp_path: Path) -> None:
    # Keys that end with zero bytes are keys like others.
    filled(tmp_path / "it's = a" / "x.features", 3, 0, 256)
    store = FeatureStore(tmp_path / "it's = a" / "x.features", UNITS)
    assert len(store) == 3
    assert (store.read([key(256), key(3), key(3)]) == features(256, 3, 3)).all()
    assert store.read([]).shape == (0, UNITS)
    assert key(7) not in store
    with pytest.raises(KeyError):
        store.read([key(7)])


@pytest.mark.parametrize("left", [1, KEY_BYTES, KEY_BYTES + 4 + 4 * UNITS - 1])
def test_half_a_record_is_written_again(tmp_path: Path, left: int) -> None:
    path = tmp_path / "x.features"
    filled(path, 1, 2, 3)
    size = path.stat().st_size // 3
    os.truncate(path, 2 * size + left)
    store = FeatureStore(path, UNITS)
    assert (len(store), key(3) in store) == (2, False)
    filled(path, 3, 4)
    assert (FeatureStore(path, UNITS).read([key(1), key(3), key(4)]) == features(1, 3, 4)).all()


def test_a_damaged_record_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.features"
    filled(path, 1, 2, 3)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 + KEY_BYTES + 9] ^= 1
    path.write_bytes(content)
    store = FeatureStore(path, UNITS)
    assert key(2) not in store
    assert (store.read([key(1), key(3)]) == features(1, 3)).all()


def test_one_sees_what_another_added(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "x.features", UNITS)
    filled(tmp_path / "x.features", 1)
    assert key(1) not in store
    store.refresh()
    assert (store.read([key(1)]) == features(1)).all()


def _write(path: Path, first: int, steps: int) -> None:
    store = FeatureStore(path, UNITS)
    for step in range(steps):
        with store.writing():
            missing = [number for number in (step, first + step) if key(number) not in store]
            if missing:
                store.append([key(number) for number in missing], features(*missing))


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    """Some of what they write is the same: it is there once."""
    path = tmp_path / "x.features"
    processes = [FORKS.Process(target=_write, args=(path, first, 40)) for first in (1000, 2000)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    numbers = [*range(40), *range(1000, 1040), *range(2000, 2040)]
    store = FeatureStore(path, UNITS)
    assert (store.read([key(number) for number in numbers]) == features(*numbers)).all()
    assert path.stat().st_size == len(numbers) * (KEY_BYTES + 4 + 4 * UNITS)


def _hold(path: Path) -> None:
    with FeatureStore(path, UNITS).writing():
        (path.parent / "held").touch()
        time.sleep(60)


def test_a_killed_writer_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cam_lightning.feature.store.POLL_SECONDS", 0.01)
    holder = FORKS.Process(target=_hold, args=(tmp_path / "x.features",))
    holder.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "held").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    waiter = FORKS.Process(target=_write, args=(tmp_path / "x.features", 5, 1))
    waiter.start()
    waiter.join(0.3)
    assert waiter.is_alive()
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    waiter.join(30)
    assert waiter.exitcode == 0
    assert len(FeatureStore(tmp_path / "x.features", UNITS)) == 2
