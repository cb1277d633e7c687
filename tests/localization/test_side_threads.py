"""Threads beside the network's: what they run must not make teams that compete with the network's own."""

from __future__ import annotations

import os

import torch

from cam_lightning.localization.side_threads import side_threads


def work() -> int:
    """The threads of this process, after an operation that is large enough to be shared among several."""
    torch.randn(1_000_000).mul(2).sum()
    return len(os.listdir("/proc/self/task"))


def test_a_side_thread_works_alone_and_the_main_one_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        work()
        with side_threads(2, "side") as pool:
            of_a_thread = pool.submit(torch.get_num_threads).result()
            with_its_thread = len(os.listdir("/proc/self/task"))
            assert pool.submit(work).result() <= with_its_thread + 1, "the other thread of the pool, and no team"
        assert of_a_thread == 1
        assert torch.get_num_threads() == 2
        work()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
