"""Workers: as many as shared memory has room for, and an error where it has none after all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cam_lightning.contracts import Batch
from cam_lightning.dataset.pipeline import worker
from cam_lightning.dataset.pipeline.examples import BadImage, Example, collate
from cam_lightning.dataset.pipeline.worker import bytes_of_batch, shared_batch, usual_workers, workers_with_room
from cam_lightning.dataset.shapes import Shapes

DOCKERS = 64 * 2**20
"""A container's /dev/shm."""


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_free_bytes", lambda: DOCKERS)


def example(seed: int, has_mask: bool = False) -> Example:
    image_3HW = torch.randint(0, 256, (3, 6, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    boxes_N4 = np.full((seed % 3, 4), seed, np.float32)
    return Example(image_3HW, 1, boxes_N4, (40, 60), seed, image_3HW[0] if has_mask else None)


@pytest.mark.parametrize(
    ("own", "on_node", "processes", "expected"),
    [
        (16, None, 4, 4),
        (16, None, 1, 8),
        (3, None, 4, 1),
        # Under SLURM: four tasks bound to six cores each; four that share 24; a shell's one process that starts two.
        (6, "24", 4, 6),
        (24, "24", 4, 6),
        (6, "6", 2, 3),
    ],
)
def test_processes_of_one_node_share_its_cores_among_their_workers(
    own: int, on_node: str | None, processes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(worker.os, "sched_getaffinity", lambda process: set(range(own)))
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    if on_node is not None:
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", on_node)
    assert usual_workers(processes) == expected


def test_a_network_on_the_same_processor_loads_its_images_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert usual_workers(1) == 0


def test_a_batch_takes_its_largest_image_size() -> None:
    least = 32 * 3 * 224 * 160
    assert least <= bytes_of_batch(32, [(64, 64), (224, 160)]) <= least + 2**20


@pytest.mark.parametrize(("processes", "room"), [(1, 5), (2, 2), (4, 0)])
def test_explicit_workers_without_room_are_an_error(docker: None, processes: int, room: int) -> None:
    """Each makes two batches ahead, and two more are in use: 5 workers of 5 MB hold 60 MB."""
    batch = 5 * 2**20
    assert processes * batch * (2 * room + 2) <= DOCKERS or not room
    if room:
        assert workers_with_room(room, room, batch, processes) == room
    with pytest.raises(ValueError, match=rf"num_workers={room + 1}: .*67 MB free: room for {room}\. .*--shm-size"):
        workers_with_room(room + 1, room + 1, batch, processes)


def test_workers_that_nobody_asked_for_are_fewer(docker: None, caplog: pytest.LogCaptureFixture) -> None:
    assert workers_with_room(8, None, 2**20, 1) == 8
    assert caplog.text == ""
    assert workers_with_room(8, None, 10 * 2**20, 1) == 2
    assert "room for 2, so 2 load images" in caplog.text
    assert workers_with_room(8, None, 100 * 2**20, 1) == 0


def test_where_nothing_is_known_of_shared_memory_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SHARED_MEMORY", Path("/nowhere"))
    assert workers_with_room(8, 8, 2**50, 1) == 8


def test_a_datamodule_asks_for_its_largest_batch(docker: None) -> None:
    common: dict[str, Any] = {"num_train": 400, "num_test": 40, "num_workers": 2}
    fits = Shapes(**common, image_size=224, batch_size=64)
    fits.setup()
    assert fits.train_dataloader().num_workers == 2
    for larger in ({"image_size": 224, "batch_size": 100}, {"image_size": 64, "batch_size": 64, "train_size": 300}):
        data = Shapes(**(common | larger))
        data.setup()
        with pytest.raises(ValueError, match=r"dataset\.num_workers=2: 2 worker"):
            data.test_dataloader()
    one_batch = Shapes(**(common | {"num_train": 20, "num_test": 20, "image_size": 224, "batch_size": 10_000}))
    one_batch.setup()
    assert one_batch.train_dataloader().num_workers == 2, "no batch is larger than its split"


@pytest.mark.parametrize("has_mask", [True, False])
def test_a_shared_batch_is_the_batch(has_mask: bool) -> None:
    entries = [example(0, has_mask), BadImage(5), example(2, has_mask)]
    one, other = collate(entries), shared_batch(entries)
    for a, b in zip(worker._tensors(one), worker._tensors(other), strict=True):
        assert torch.equal(a, b)
        assert b.is_shared()
    assert isinstance(other, Batch)
    assert shared_batch([BadImage(1)]).image_B3HW.shape[0] == 0


def test_shared_memory_that_is_full_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(OSError, match=r"no room in shared memory .*No space left.*--shm-size"):
        shared_batch([example(1)])


def test_a_worker_without_room_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data loader waits for nothing that was lost on the way."""

    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    data = Shapes(num_train=40, num_test=20, image_size=16, num_workers=1)
    data.setup()
    with pytest.raises(OSError, match="no room in shared memory"):
        next(iter(data.test_dataloader()))


@pytest.mark.slow
def test_a_container_s_shared_memory_ends_a_run_within_seconds(tmp_path: Path) -> None:
    """Of a whole command, in a namespace with a small one."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here")
    command = (
        f"{sys.executable} -m cam_lightning.train trainer=cpu backbone=squeezenet_gap dataset.num_train=400 "
        f"dataset.num_test=40 dataset.batch_size=16 dataset.num_workers=8 dataset.image_size=112 run_dir={tmp_path}/run"
    )
    start = time.monotonic()
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", f"mount -t tmpfs -o size=8m tmpfs /dev/shm && {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "/dev/shm has 8 MB free: room for 5" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 60
