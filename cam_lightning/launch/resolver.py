"""The functions that configurations may call; each answers without importing torch."""

from __future__ import annotations

import os
from glob import glob

from omegaconf import OmegaConf


def register_resolvers() -> None:
    """`${auto_accelerator:…}`, `${by_accelerator:…}` and `${cwd:}`; again and again does no harm."""
    OmegaConf.register_new_resolver("auto_accelerator", _auto_accelerator, replace=True)
    OmegaConf.register_new_resolver(
        "by_accelerator", lambda accelerator, gpu, cpu: gpu if accelerator == "gpu" else cpu, replace=True
    )
    OmegaConf.register_new_resolver("cwd", os.getcwd, replace=True)


def _auto_accelerator(devices: int) -> str:
    """A GPU if there is one. More than one device always means GPUs: their lack is then an error, not a fallback."""
    return "gpu" if devices != 1 or _gpu_present() else "cpu"


def _gpu_present() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return False
    return bool(glob("/dev/nvidia[0-9]*"))
