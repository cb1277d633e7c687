"""What holds no plain tensors is named in one line, without advice to run what it brings."""

from __future__ import annotations

import argparse
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cam_lightning.run.checkpoint import read_checkpoint
from cam_lightning.run.tensor_file import read_tensor_file


def test_files_of_safetensors_are_tensors_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    tensors = {"a.weight": torch.randn(3, 2), "b": torch.arange(4)}
    path = tmp_path / "x.safetensors"
    safetensors.save_file(tensors, path)
    read = read_tensor_file(path, "backbone.weights")
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], value) for name, value in tensors.items())
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ModuleNotFoundError, match=r"backbone\.weights=.* needs a package: pip install safetensors"):
        read_tensor_file(path, "backbone.weights")
    monkeypatch.undo()
    for content in (b"", path.read_bytes()[:60], b"no tensors at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"backbone\.weights=.*is damaged or no file of safetensors"):
            read_tensor_file(path, "backbone.weights")


class Layer(nn.Linear):
    """A model of one's own."""


def scripted() -> Any:
    return torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))


CASES = {
    "model": (lambda path: torch.save(Layer(2, 2), path), r"is a whole pickled model \(\S*test_tensor_file\.Layer\)"),
    "torch's": (lambda path: torch.save(nn.Linear(2, 2), path), r"whole pickled model \(torch\.nn\.modules\.linear"),
    "model within": (lambda path: torch.save({"model": Layer(2, 2), "epoch": 1}, path), "is a whole pickled model"),
    "old kind": (
        lambda path: torch.save(nn.Linear(2, 2), path, _use_new_zipfile_serialization=False),
        r"is a whole pickled model \(torch\.nn\.modules\.linear",
    ),
    "namespace": (
        lambda path: torch.save({"model": {"w": torch.zeros(2)}, "args": argparse.Namespace(lr=1)}, path),
        "holds an argparse.Namespace, the options of the command",
    ),
    "object": (
        lambda path: torch.save({"w": torch.zeros(2), "where": Path("x")}, path),
        r"holds an object beside its tensors \(pathlib\.\S*PosixPath\)",
    ),
    "pickle": (lambda path: path.write_bytes(pickle.dumps([1, 2])), "is damaged or holds no weights: "),
    "text": (lambda path: path.write_text("<html>not found</html>"), "is damaged or holds no weights: "),
    "empty": (lambda path: path.write_bytes(b""), "is damaged or holds no weights: "),
    "script": (lambda path: scripted().save(path), "is a TorchScript archive"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_reason_is_one_line_of_ours(case: str, tmp_path: Path) -> None:
    write, said = CASES[case]
    path = tmp_path / f"{case}, it's.pth"
    write(path)
    with pytest.raises(ValueError, match=said) as error:
        read_tensor_file(path, "backbone.weights")
    text = str(error.value)
    assert text.startswith(f"backbone.weights={path} ")
    assert "\n" not in text
    for advice in ("weights_only` to", "add_safe_globals", "arbitrary code execution", "re-running"):
        assert advice not in text
    with pytest.raises(ValueError, match=said):
        read_checkpoint(str(path))


def test_tensors_and_plain_containers_are_read(tmp_path: Path) -> None:
    content = {"a": [1, "x", torch.ones(2)], "b": {"c": None}}
    torch.save(content, tmp_path / "w.pth")
    found = read_tensor_file(tmp_path / "w.pth", "weights")
    assert found["a"][:2] == [1, "x"]
    assert found["a"][2].equal(torch.ones(2))
