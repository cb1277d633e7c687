"""The Lightning Trainer: what was asked for, or an error; never something else in silence."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
from lightning import Trainer

from cam_lightning.run.checkpoint import WholeCheckpoints
from cam_lightning.run.precision import CHOSEN, fastest_precision
from cam_lightning.run.ranks import SharedDDP

MOST_ON_FEW_CORES = 8
"""CPU processes that are started also where there are fewer cores than that, to try a distributed run out."""


def build_trainer(
    accelerator: str,
    devices: int,
    precision: str,
    num_nodes: int = 1,
    timeout_minutes: float = 30,
    deterministic: bool = False,
    benchmark: bool = True,
    **options: Any,
) -> Trainer:
    """A Trainer on `devices` GPUs, or CPU processes, of each of `num_nodes` nodes; `options` go to Lightning.

    Several processes share gradients by DistributedDataParallel. Its copying of buffers at every forward is
    off (the method shares them once before evaluating), and data are split by our own samplers. After
    `timeout_minutes` without an answer from another process the run ends. `deterministic` forbids operations
    that may differ from run to run, and cuDNN's choice among its algorithms (`benchmark`) with them.
    `precision="auto"` is what `fastest_precision` finds. Raises ValueError when more GPUs are asked for than exist,
    more CPU processes than can run, or another number of processes than were started from outside.
    """
    for name, count in (("devices", devices), ("num_nodes", num_nodes)):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"trainer.{name} is a whole number of at least 1; got {count!r}")
    if accelerator == "gpu" and torch.cuda.device_count() < devices:
        raise ValueError(
            f"trainer.devices={devices} asks for {devices} GPU(s), and torch sees {torch.cuda.device_count()}. "
            "Ask for fewer, or for CPU processes with trainer=cpu."
        )
    cores = len(os.sched_getaffinity(0))
    most = max(MOST_ON_FEW_CORES, cores)
    if accelerator == "cpu" and devices > most:
        raise ValueError(
            f"trainer.devices={devices} asks for {devices} CPU processes, which would share {cores} core(s); at most "
            f"{most} are started here"
        )
    if precision == "auto":
        precision = fastest_precision(accelerator)
        if devices * num_nodes > 1:
            os.environ[CHOSEN] = precision
    strategy: Any = "auto"
    if devices * num_nodes > 1:
        strategy = SharedDDP(broadcast_buffers=False, timeout=timedelta(minutes=timeout_minutes))
        if accelerator == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            # Each process would otherwise start as many threads as there are cores: this one, and those it starts.
            share = max(1, cores // devices)
            torch.set_num_threads(share)
            os.environ["OMP_NUM_THREADS"] = str(share)
    trainer = Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        precision=precision,  # type: ignore[arg-type]
        strategy=strategy,
        use_distributed_sampler=False,
        deterministic=deterministic,
        benchmark=benchmark and not deterministic,
        plugins=[WholeCheckpoints()],
        **options,
    )
    _require_processes(trainer, devices, num_nodes)
    # Signals are ours (run/interruption.py). Lightning's handlers talk to the other processes in the middle
    # of whatever these are doing, and on SLURM write checkpoints of their own and requeue.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def _require_processes(trainer: Trainer, devices: int, num_nodes: int) -> None:
    """Raises ValueError where torchrun, SLURM or the like started another number of processes than was asked for.

    Lightning would train with theirs, or, for one device, run each of them as a training of its own.
    """
    environment = trainer._accelerator_connector.cluster_environment
    is_alone = not environment.creates_processes_externally and not {"NODE_RANK", "GROUP_RANK"} & os.environ.keys()
    if num_nodes > 1 and is_alone:
        raise ValueError(
            f"trainer.num_nodes={num_nodes}, and nothing says which of the nodes this is: it would wait for the others "
            "for ever. Start it by srun or torchrun on all of them, or by hand with NODE_RANK, MASTER_ADDR and "
            "MASTER_PORT set on each"
        )
    found = environment.world_size()
    if found == devices * num_nodes:
        return
    names = ("WORLD_SIZE", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NNODES", "SLURM_JOB_NAME")
    variables = " ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
    raise ValueError(
        f"trainer.devices={devices} and trainer.num_nodes={num_nodes} ask for {devices * num_nodes} process(es), and "
        f"this is one of {found} by {type(environment).__name__} ({variables}). Ask both for the same: under SLURM "
        "sbatch --nodes=NUM_NODES --ntasks-per-node=DEVICES and srun before the command, else torchrun "
        "--nnodes=NUM_NODES --nproc-per-node=DEVICES. For a script without srun, whose one process starts the others "
        "itself: sbatch --job-name=interactive"
    )
