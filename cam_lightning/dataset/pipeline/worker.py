"""The processes that load images: how many there is room for, how they hand on batches, and when they end."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cam_lightning.contracts import Batch
from cam_lightning.dataset.pipeline.examples import BadImage, Example, collate
from cam_lightning.run.interruption import outlive_signals

log = logging.getLogger(__name__)

MOST_WORKERS = 512
"""Processes that load images; more than any machine has use for only fill its memory."""
SHARED_MEMORY = Path("/dev/shm")
"""Where torch lays the batches that workers hand on; a container's has 64 MB unless it is told otherwise."""
AHEAD = 2
"""Batches that a worker makes before they are asked for: the data loader's `prefetch_factor`."""
IN_USE = 2
"""Batches that the process which trains holds beside those: the one it is at, and the next."""


def one_thread(worker: int) -> None:
    """Workers are parallel already; threads of OpenCV and torch in them only fight (pytorch #45198)."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def begin_worker(worker: int) -> None:
    """What a worker of training and evaluation does first; they end with the process that they load for."""
    one_thread(worker)
    outlive_signals()


def shared_batch(entries: Sequence[Example | BadImage]) -> Batch:
    """`collate` in a worker, with every tensor in shared memory already; raises OSError where that is full.

    Left to the queue, the same is done by a thread that nobody hears of: the batch would be lost, and waited for
    for ever.
    """
    batch = collate(entries)
    try:
        for tensor in _tensors(batch):
            tensor.share_memory_()
    except RuntimeError as error:
        raise OSError(f"a worker had no room in shared memory for a batch ({error}). {WAY_OUT}") from error
    return batch


WAY_OUT = (
    f"Give {SHARED_MEMORY} more room (docker run --shm-size=2g, or --ipc=host), or take a smaller dataset.num_workers "
    "or dataset.batch_size; dataset.num_workers=0 needs none"
)


def usual_workers(processes: int) -> int:
    """How many workers each of `processes` on this machine has, where nobody asked for a number.

    None where the network runs on the same CPU, a share of the cores elsewhere.
    """
    if not torch.cuda.is_available():
        return 0
    own = len(os.sched_getaffinity(0))
    # A task of SLURM's is bound to its own share of these already, on clusters that bind tasks.
    on_node = max(own, int(os.environ.get("SLURM_CPUS_ON_NODE", 0)))
    return max(1, min(8, own, on_node // processes))


def workers_with_room(wanted: int, asked: int | None, batch_bytes: int, processes: int) -> int:
    """How many workers of each of `processes` on this machine the free shared memory has room for, at most `wanted`.

    `batch_bytes` is the largest batch. Where the user has `asked` for a number, one that has no room is a ValueError;
    else fewer are taken, and the log says so.
    """
    free = _free_bytes()
    if not wanted or free is None:
        return wanted
    room = max(0, (free // (processes * batch_bytes) - IN_USE) // AHEAD)
    if room >= wanted:
        return wanted
    needed = processes * batch_bytes * (AHEAD * wanted + IN_USE)
    why = (
        f"{wanted} worker(s) of {processes} process(es) need {_megabytes(needed)} of shared memory for their batches, "
        f"and {SHARED_MEMORY} has {_megabytes(free)} free: room for {room}"
    )
    if asked is not None:
        raise ValueError(f"dataset.num_workers={asked}: {why}. {WAY_OUT}")
    log.warning("%s, so %d load images. %s", why, room, WAY_OUT)
    return room


def bytes_of_batch(batch_size: int, sizes: Sequence[tuple[int, int]]) -> int:
    """The shared memory of a batch of uint8 RGB images of the largest of these (height, width), and what goes along.

    Without masks, of which only reading an image would tell.
    """
    return max(batch_size * 3 * math.prod(size) for size in sizes) + 8 * os.sysconf("SC_PAGESIZE")


def _free_bytes() -> int | None:
    """None where it cannot be asked."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def _tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, tuple):
        for part in node:
            yield from _tensors(part)
