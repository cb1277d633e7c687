"""Files of tensors, which may be anybody's: read as data, and what cannot be is said in one line."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch

_GLOBAL = re.compile(r"GLOBAL (\w+\.[\w.]+\w)|Unsupported class (\w+\.[\w.]+\w)")
_OF_MODULES = b"_non_persistent_buffers_set"
"""What the state of every layer of torch's has, and a state dict has not."""
_MOST_PICKLED = 2**24
SAFETENSORS = ".safetensors"


def read_tensor_file(path: Path, option: str) -> Any:
    """What a file that torch has saved holds: containers, numbers, text and tensors, on the CPU; no code is run.

    Of a `.safetensors` file it is the tensors by name. Raises ModuleNotFoundError for one without the package, and
    ValueError, that begins with `option`, for a file that is damaged, of another kind, or made of classes.
    """
    if path.suffix.lower() == SAFETENSORS:
        return _safetensors(path, option)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever broken bytes make of the reader: UnpicklingError, RuntimeError, EOFError, KeyError, …
        raise ValueError(f"{option}={path} {_reason(path, error)}") from error


def _safetensors(path: Path, option: str) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{option}={path} needs a package: pip install safetensors, or save its tensors with torch.save"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{option}={path} is damaged or no file of safetensors: {error}") from error


def _reason(path: Path, error: Exception) -> str:
    """Why, without torch's advice to read the file as code."""
    text = str(error)
    found = _GLOBAL.search(text)
    name = next(filter(None, found.groups()), "") if found else ""
    save = f"Where you trust it, load it yourself with torch.load({str(path)!r}, weights_only=False) and save"
    if name == "argparse.Namespace":
        return (
            "holds an argparse.Namespace, the options of the command that made it, and only tensors are read. "
            f"{save} its state dict alone"
        )
    if name:
        what = "is a whole pickled model" if _holds_layers(path) else "holds an object beside its tensors"
        return f"{what} ({name}), and only tensors are read, since reading objects runs code. {save} its state_dict()"
    if "TorchScript" in text:
        return "is a TorchScript archive, and only tensors are read. Save its state_dict()"
    first = "" if "weights_only" in text or "Weights only" in text else next(iter(text.strip().splitlines()), "")
    return f"is damaged or holds no weights: {first[:200] or 'it ends too early, or is no file of torch'}"


def _holds_layers(path: Path) -> bool:
    """Whether a file of a known kind holds layers, and not their tensors alone."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return any(_OF_MODULES in archive.read(name) for name in pickles)
    with path.open("rb") as file:
        return _OF_MODULES in file.read(_MOST_PICKLED)
