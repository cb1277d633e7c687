"""The functions that configurations may call; each answers without importing torch."""

from __future__ import annotations

import inspect
import os
from glob import glob
from typing import Any

from omegaconf import OmegaConf


def register_resolvers() -> None:
    """`${auto_accelerator:…}`, `${by_accelerator:…}` and `${cwd:}`; again and again does no harm."""
    # OmegaConf 2.4 took the name that 2.3 has for an older kind of resolver, and warns of the longer one.
    is_old = "replace" not in inspect.signature(OmegaConf.register_resolver).parameters
    register: Any = OmegaConf.register_new_resolver if is_old else OmegaConf.register_resolver
    register("auto_accelerator", _auto_accelerator, replace=True)
    register("by_accelerator", lambda accelerator, gpu, cpu: gpu if accelerator == "gpu" else cpu, replace=True)
    register("cwd", os.getcwd, replace=True)


def _auto_accelerator(devices: object) -> str:
    """A GPU if there is one. More than one device always means GPUs: their lack is then an error, not a fallback."""
    return "gpu" if devices != 1 or _gpu_present() else "cpu"


def _gpu_present() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    return bool(glob("/dev/nvidia[0-9]*"))
