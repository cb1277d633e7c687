"""Threads that work beside the network's without slowing it down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch


def side_threads(count: int, name: str) -> ThreadPoolExecutor:
    """A pool of `count` threads, each of which runs torch's operations by itself; those of other threads stay parallel.

    OpenMP keeps a team for every thread that has ever run a parallel operation. Once the members of all teams
    outnumber the cores, libgomp lets them sleep at every barrier where before they waited awake: with one boxing
    thread on two cores, a training step took twice as long from the first validation on.
    """
    # A thread settles its number when it first asks. Asked later, the caller would take over the pool's.
    torch.get_num_threads()
    return ThreadPoolExecutor(count, name, initializer=torch.set_num_threads, initargs=(1,))
