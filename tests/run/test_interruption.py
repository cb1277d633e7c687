"""Signals: an end at once, or an end that the run chooses; never of a worker before its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


def test_a_second_ctrl_c_does_not_wait(interruption: Interruption) -> None:
    """And what else comes after the first does."""
    interruption.deferred = True
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted, match="SIGINT") as caught:
        os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.exit_code == 130


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    """A process of this one, as a data loader's, after it has begun; libraries that are loaded here start no threads
    in it, which would get its signals."""
    code = "import time; from cam_lightning.run.interruption import outlive_signals as o; o(); print(1, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}; time.sleep(20)"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        yield process
        process.kill()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_worker_outlives_a_signal_to_all_processes(worker: subprocess.Popen[str], number: signal.Signals) -> None:
    subprocess.run(["kill", f"-{int(number)}", str(worker.pid)], check=True)
    time.sleep(0.2)
    assert worker.poll() is None, "its parent may still need it"


def test_a_worker_ends_when_its_parent_says_so(worker: subprocess.Popen[str]) -> None:
    worker.terminate()
    assert worker.wait(timeout=10) == 0
