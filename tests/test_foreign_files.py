"""Checkpoints, run directories and configurations of someone else, through every door: data, which run nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from cam_lightning import load

FEW = ["dataset.num_train=24", "dataset.num_test=12", "dataset.image_size=48", "dataset.batch_size=8",
       "backbone=squeezenet_gap", "trainer=cpu", "trainer.max_epochs=1"]  # fmt: skip
EVIL = {
    "opens a file": {"_target_": "builtins.open", "file": "RAN", "mode": "w"},
    "evaluates text": {"_target_": "sympy.sympify", "a": "open('RAN', 'w')"},
    "reaches through us": {"_target_": "cam_lightning.run.directory.os.mkdir", "path": "RAN"},
    "writes by us": {"_target_": "cam_lightning.run.file.write_text", "path": "RAN", "text": "x"},
    "copies": {"_target_": "shutil.copyfile", "src": "/etc/hostname", "dst": "RAN"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    commands.run("train", *FEW, "run_dir=run", cwd=folder)
    return folder / "run"


def armed(node: Any, folder: Path) -> Any:
    return {key: str(folder / "RAN") if value == "RAN" else value.replace("RAN", str(folder / "RAN"))
            if isinstance(value, str) else value for key, value in node.items()}  # fmt: skip


@pytest.fixture(params=EVIL)
def evil(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A part that leaves a file where it is built; none may be there afterwards."""
    yield armed(EVIL[request.param], tmp_path)
    assert not (tmp_path / "RAN").exists(), "it ran"


def poisoned_checkpoint(trained: Path, folder: Path, part: str, evil: dict[str, Any]) -> Path:
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    content["cam_lightning"]["config"][part] = evil
    path = folder / "evil.ckpt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("part", ["cam", "box", "backbone"])
def test_load_builds_nothing_of_it(trained: Path, tmp_path: Path, part: str, evil: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not trusted, and was not run"):
        load(poisoned_checkpoint(trained, tmp_path, part, evil))


def test_nor_through_a_part_within_a_part(trained: Path, tmp_path: Path, evil: dict[str, Any]) -> None:
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    content["cam_lightning"]["config"]["box"]["threshold"] = evil
    content["cam_lightning"]["config"]["method"]["network_part"] = evil
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="is not trusted, and was not run"):
        load(tmp_path / "evil.ckpt")


def test_an_interpolation_in_a_checkpoint_is_not_resolved(trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    content["cam_lightning"]["config"]["box"]["upsample"] = "${oc.env:HOME}"
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match=r"holds an interpolation at box.upsample"):
        load(tmp_path / "evil.ckpt")


def test_a_pickle_is_no_checkpoint(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "RAN"), "w")

    torch.save({"cam_lightning": {"config": Runs()}}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="holds an object beside its tensors"):
        load(tmp_path / "evil.ckpt")
    assert not (tmp_path / "RAN").exists()


ONE = next(iter(EVIL.values()))


def refused(tmp_path: Path, entry: str, *arguments: str) -> str:
    answer = commands.run(entry, *arguments, cwd=tmp_path, check=False)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert not (tmp_path / "RAN").exists(), "it ran"
    assert "Traceback" not in answer.stderr
    return answer.stderr.replace("\n", " ")


@pytest.mark.parametrize("part", ["cam", "dataset", "method"])
def test_evaluate_and_predict_build_nothing_of_a_checkpoint(trained: Path, tmp_path: Path, part: str) -> None:
    path = poisoned_checkpoint(trained, tmp_path, part, armed(ONE, tmp_path))
    assert "not trusted" in refused(tmp_path, "evaluate", f"checkpoint={path}", "trainer=cpu")
    if part == "cam":
        Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
        said = refused(tmp_path, "predict", "images=a.png", f"checkpoint={path}", "device=cpu")
        assert "not trusted" in said


@pytest.fixture
def stolen(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run's directory, as somebody else could send it."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes())
    for name in ("config.yaml", "results.json", "metrics.csv", "predictions.csv", "specs.json"):
        (run / name).write_bytes((trained / name).read_bytes())
    (run / "status.json").write_text(json.dumps({"state": "interrupted"}))
    return run


@pytest.mark.parametrize("part", ["cam", "callback.progress", "logger.evil", "dataset", "method.optimizer", "trainer"])
def test_resume_builds_nothing_of_a_run(stolen: Path, tmp_path: Path, part: str) -> None:
    config = yaml.safe_load((stolen / "config.yaml").read_text())
    *path, last = part.split(".")
    node = config
    for key in path:
        node = node[key]
    kept = node.get(last) if isinstance(node.get(last), dict) else {}
    node[last] = {**(kept or {}), **armed(ONE, tmp_path)}
    # A configuration cannot trust itself.
    config["trust"] = ["builtins"]
    (stolen / "config.yaml").write_text(yaml.safe_dump(config))
    assert "not trusted" in refused(tmp_path, "train", f"resume={stolen}")


def test_resume_reads_no_python_in_yaml(stolen: Path, tmp_path: Path) -> None:
    with (stolen / "config.yaml").open("a") as file:
        file.write(f"evil: !!python/object/apply:os.mkdir [{tmp_path / 'RAN'}]\n")
    assert "is damaged" in refused(tmp_path, "train", f"resume={stolen}")


def test_report_only_reads(stolen: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((stolen / "config.yaml").read_text())
    config["cam"] = armed(ONE, tmp_path)
    (stolen / "config.yaml").write_text(yaml.safe_dump(config))
    with (stolen / "config.yaml").open("a") as file:
        file.write(f"evil: !!python/object/apply:os.mkdir [{tmp_path / 'RAN'}]\n")
    commands.run("report", "run", "--output", "page", cwd=tmp_path, check=False)
    assert not (tmp_path / "RAN").exists()


@pytest.mark.slow
def test_a_sweep_goes_on_with_nothing_of_a_job(stolen: Path, tmp_path: Path) -> None:
    """The same command finds the job of a sweep's folder that somebody else has filled, and goes on with it."""
    jobs = [*FEW, "seed=0", "sweep=theirs"]
    commands.run("train", "-m", *jobs, cwd=tmp_path)
    (job,) = (path.parent for path in (tmp_path / "runs" / "theirs").glob("*/config.yaml"))
    config = yaml.safe_load((job / "config.yaml").read_text())
    config["cam"] = armed(ONE, tmp_path)
    (job / "config.yaml").write_text(yaml.safe_dump(config))
    (job / "status.json").write_text(json.dumps({"state": "interrupted"}))
    answer = commands.run("train", "-m", *jobs, cwd=tmp_path, check=False)
    assert answer.returncode == 1
    assert not (tmp_path / "RAN").exists()
    assert "not trusted" in (answer.stdout + answer.stderr)


def test_maps_hold_numbers_alone(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "RAN"), "w")

    maps, metadata = tmp_path / "maps", tmp_path / "metadata"
    maps.mkdir()
    metadata.mkdir()
    np.save(maps / "a.npy", np.array([Runs()], dtype=object), allow_pickle=True)
    files = {"image_ids": "a", "class_labels": "a,0", "image_sizes": "a,9,9", "localization": "a,0,0,4,4"}
    for name, line in files.items():
        (metadata / f"{name}.txt").write_text(f"{line}\n")
    answer = commands.run("evaluate_maps", "maps=maps", "metadata=metadata", cwd=tmp_path, check=False)
    assert not (tmp_path / "RAN").exists()
    assert "unreadable" in answer.stdout + answer.stderr


@pytest.mark.parametrize("place", ["cam", "hydra.callbacks.evil", "hydra.launcher"])
def test_a_folder_of_configuration_runs_nothing(tmp_path: Path, place: str) -> None:
    """Hydra builds its own callbacks and launcher before any of our code sees them."""
    folder = tmp_path / "theirs" / "experiment"
    folder.mkdir(parents=True)
    # Hydra knows which options its own launchers have.
    content: dict[str, Any] = {"_target_": "os.abort"} if place == "hydra.launcher" else armed(ONE, tmp_path)
    for key in reversed(place.split(".")):
        content = {key: content}
    (folder / "evil.yaml").write_text("# @package _global_\n# Evil.\n" + yaml.safe_dump(content))
    arguments = ["--config-dir=theirs", "experiment=evil", *FEW]
    if place == "hydra.launcher":
        arguments = ["-m", *arguments, "seed=1"]
    answer = commands.run("train", *arguments, cwd=tmp_path, check=False)
    assert answer.returncode == 1
    assert not (tmp_path / "RAN").exists()
    assert "not trusted" in answer.stdout + answer.stderr
