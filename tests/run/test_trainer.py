"""The Trainer has the processes that were asked for, or there is none."""

from __future__ import annotations

from typing import Any

import pytest

from cam_lightning.run import trainer as trainer_module
from cam_lightning.run.ranks import SharedDDP
from cam_lightning.run.trainer import build_trainer

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4"}
SRUN = {
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in {*TORCHRUN, *SRUN, "SLURM_NNODES"}:
        monkeypatch.delenv(variable, raising=False)
    # What a trainer of several CPU processes would set.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def trainer(**options: Any) -> Any:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return build_trainer(**{"accelerator": "cpu", "devices": 1, "precision": "32-true", **quiet, **options})


@pytest.mark.parametrize(
    ("name", "value"), [("devices", -1), ("devices", "auto"), ("devices", 0), ("devices", True), ("num_nodes", 0)]
)
@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_a_number_of_processes_is_a_number(name: str, value: Any, accelerator: str) -> None:
    with pytest.raises(ValueError, match=f"trainer.{name} is a whole number of at least 1; got {value!r}"):
        trainer(**{name: value, "accelerator": accelerator})


def test_no_machine_is_flooded_with_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few more than cores are a trial of a distributed run; a hundred that share two cores are a mistake."""
    monkeypatch.setattr(trainer_module.os, "sched_getaffinity", lambda process: {0, 1})
    assert trainer(devices=8).world_size == 8
    with pytest.raises(ValueError, match=r"trainer.devices=99 asks for 99 CPU processes, .* 2 core.*at most 8"):
        trainer(devices=99)
    monkeypatch.setattr(trainer_module.os, "sched_getaffinity", lambda process: set(range(128)))
    assert trainer(devices=99).world_size == 99


def test_nodes_that_nobody_started_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"trainer\.num_nodes=3, and nothing says which of the nodes this is"):
        trainer(num_nodes=3)
    monkeypatch.setenv("NODE_RANK", "1")
    assert trainer(num_nodes=3).world_size == 3


def test_processes_that_lightning_starts() -> None:
    assert trainer().world_size == 1
    several = trainer(devices=3)
    assert several.world_size == 3
    assert isinstance(several.strategy, SharedDDP)


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN], ids=["torchrun", "srun"])
def test_processes_that_were_started_from_outside(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert trainer(devices=4).world_size == 4


@pytest.mark.parametrize(
    ("variables", "devices", "said"),
    [
        (TORCHRUN, 1, r"ask for 1 process\(es\), and this is one of 4 by TorchElasticEnvironment \(WORLD_SIZE=4\)"),
        (TORCHRUN, 2, r"ask for 2 process\(es\), and this is one of 4"),
        (SRUN, 1, r"and this is one of 4 by SLURMEnvironment \(SLURM_NTASKS=4 SLURM_NTASKS_PER_NODE=4 SLURM_JOB_NAME="),
        # `sbatch --ntasks=1 --gpus=2`, and no srun.
        ({**SRUN, "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}, 2, "and this is one of 1 by SLURMEnvironment"),
    ],
)
def test_another_number_of_processes_is_an_error(
    variables: dict[str, str], devices: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else four trainings would write the same files, or one would train with half of the batch."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        trainer(devices=devices)


def test_a_job_named_interactive_starts_its_processes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SRUN, "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "interactive"}.items():
        monkeypatch.setenv(name, value)
    assert trainer(devices=2).world_size == 2
