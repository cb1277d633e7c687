"""What a cluster is sent and what a job there does; no SLURM is needed."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from cam_lightning.launch.entry_point import CONF, entry_point, readable, register_resolvers
from cam_lightning.run.place import VERSION_BASE

ROOT = Path(__file__).parents[2]


def composed(*overrides: str, name: str = "train") -> DictConfig:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose(name, overrides=list(overrides), return_hydra_config=True)


def test_the_script_that_slurm_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through the launcher, to a stand-in for `sbatch` that keeps what it gets and accepts nothing."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra `sweep` is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(
        f'#!/bin/sh\ncat "$1" > {tmp_path}/sent.sh\necho "no such partition" >&2\nexit 1\n'
    )
    (programs / "srun").write_text("#!/bin/sh\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    arguments = ["trainer=slurm", "trainer.devices=4", "trainer.num_nodes=2", "seed=1,2,3", "sweep=big"]
    launcher = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=2880"]
    monkeypatch.setattr(sys, "argv", ["train", "-m", *arguments, *launcher, f"paths.runs={tmp_path}/runs"])
    with pytest.raises(SystemExit) as stop:
        entry_point("train")()
    assert stop.value.code == 1
    assert "no such partition" in capfd.readouterr().err
    script = (tmp_path / "sent.sh").read_text()
    options = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in script.splitlines()
        if line.startswith("#SBATCH")
    )
    expected = {
        "partition": "gpu",
        "nodes": "2",
        "ntasks-per-node": "4",
        "gpus-per-node": "4",
        "cpus-per-task": "8",
        "time": "2880",
        "signal": "USR2@120",
        "array": "0-2%3",
        "open-mode": "append",
        "requeue": "",
    }
    assert {key: options.get(key) for key in expected} == expected
    assert options["output"].startswith(f"{tmp_path}/runs/big/submitit/")
    (command,) = (line for line in script.splitlines() if line.startswith("srun"))
    assert "submitit.core._submit" in command


def test_a_cpu_job_asks_for_no_gpu() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra `sweep` is not installed")
    launcher = composed("hydra/launcher=slurm", "trainer=cpu", "trainer.devices=2").hydra.launcher
    assert launcher.gpus_per_node is None
    assert launcher.tasks_per_node == 2


def test_a_script_s_tasks_and_nodes_are_the_trainer_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    monkeypatch.setenv("SLURM_NNODES", "2")
    trainer = OmegaConf.to_container(composed("trainer=slurm").trainer, resolve=True)
    assert isinstance(trainer, dict)
    assert [trainer[key] for key in ("devices", "num_nodes", "accelerator", "precision")] == [4, 2, "gpu", "bf16-mixed"]
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    monkeypatch.delenv("SLURM_NNODES")
    trainer = OmegaConf.to_container(composed("trainer=slurm").trainer, resolve=True)
    assert isinstance(trainer, dict)
    assert [trainer["devices"], trainer["num_nodes"]] == [1, 1]


def commands_of_the_readme() -> list[str]:
    """Every `python -m cam_lightning.…` of the section, lines joined where a backslash ends them."""
    blocks = (ROOT / "experiments" / "results" / "cluster.md").read_text().split("```")[1::2]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line[line.index("python -m cam_lightning.") :] for line in lines if "python -m cam_lightning." in line]


def test_the_readme_has_the_commands() -> None:
    assert len(commands_of_the_readme()) >= 8


@pytest.mark.parametrize("command", commands_of_the_readme())
def test_the_readme_s_commands_compose(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a sweep its first job, with its launcher and sweeper."""
    monkeypatch.chdir(tmp_path)
    _, _, module, *arguments = shlex.split(command, comments=True)
    name = module.removeprefix("cam_lightning.")
    if name == "report":
        assert not any("=" in argument for argument in arguments)
        return
    if any("launcher" in argument for argument in arguments):
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra `sweep` is not installed")
    overrides = []
    parser = hydra.core.override_parser.overrides_parser.OverridesParser.create()
    for override in parser.parse_overrides(readable([argument for argument in arguments if argument != "-m"])):
        key, value = override.get_key_element(), override.input_line
        if override.is_sweep_override():
            assert "-m" in arguments
            sweep = override.value()
            first = next(iter(override.sweep_string_iterator())) if override.is_discrete_sweep() else sweep.start
            value = f"{key}={first}"
        overrides.append(value)
    config = composed(*overrides, name=name)
    del config.hydra.help, config.hydra.hydra_help, config.hydra.runtime, config.hydra.job, config.hydra.env
    OmegaConf.to_container(config, resolve=True)
