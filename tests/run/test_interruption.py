"""Signals: an end at once, or an end that the run chooses; never of a worker before its parent."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from cam_lightning.run.interruption import SIGNALS, Interrupted, Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    listening = Interruption()
    listening.listen()
    yield listening
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_run_where_it_comes(interruption: Interruption, number: signal.Signals) -> None:
    with pytest.raises(Interrupted, match=number.name) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 128 + number
    os.kill(os.getpid(), number)  # the second does not cut the end short


def test_a_deferred_signal_waits_to_be_asked_for(interruption: Interruption) -> None:
    interruption.deferred = True
    assert not interruption.asked
    os.kill(os.getpid(), signal.SIGUSR1)
    assert interruption.asked
    with pytest.raises(Interrupted, match="SIGUSR1"):
        interruption.end()


def test_a_rank_ends_for_the_signal_of_another(interruption: Interruption) -> None:
    with pytest.raises(Interrupted, match="SIGTERM"):
        interruption.end()


def test_a_worker_outlives_a_signal_to_all_processes(interruption: Interruption) -> None:
    worker = os.fork()
    if worker == 0:
        time.sleep(20)
        os._exit(0)
    time.sleep(0.1)
    os.kill(worker, signal.SIGTERM)
    time.sleep(0.2)
    assert os.waitpid(worker, os.WNOHANG) == (0, 0), "its parent may still need it"
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
