"""What a run was made with: the code, the packages, the machine; read without torch, in a tenth of a second."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import re
import socket
import subprocess
import sys
from datetime import datetime
from glob import glob
from pathlib import Path
from typing import Any

from cam_lightning.run.directory import RunDirectory

log = logging.getLogger(__name__)

CODE = Path(__file__).parent


def environment(seed: int | None) -> dict[str, Any]:
    """Commit, versions, host, devices and seed, as plain values; `git` is None outside of a checkout."""
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "devices": {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "gpu": _gpus()},
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "seed": seed,
        "git": _git_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "packages": dict(sorted((each.name, each.version) for each in importlib.metadata.distributions() if each.name)),
    }


def record_environment(run: RunDirectory, seed: int | None) -> None:
    """Writes `environment.json` and, where the code is not as committed, `uncommitted.diff`.

    A run that goes on keeps what it began with under `earlier`, and warns where the code is another one, or where the
    file is damaged.
    """
    if not run.is_writer:
        return
    now = environment(seed)
    file = run.path / "environment.json"
    if file.is_file():
        before = _before(file)
        now["earlier"] = [*before.pop("earlier", []), *([before] if before else [])]
        if before and before["git"] != now["git"]:
            log.warning("the code is not what this run began with: %s before, %s now", before["git"], now["git"])
    run.write_json(file.name, now)
    changes = _git("diff", "HEAD")
    if changes:
        run.write_text("uncommitted.diff", changes)


def _before(file: Path) -> dict[str, Any]:
    """What the file held; nothing, with a warning, where it is damaged: no number depends on it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and "git" in content and isinstance(content.get("earlier", []), list):
        return content
    log.warning("%s is damaged: what the run was begun with is not known any more", file)
    return {}


def _git_state() -> dict[str, Any] | None:
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    changed = (_git("status", "--porcelain") or "").splitlines()
    return {"commit": commit.strip(), "is_dirty": bool(changed), "changed": changed[:100]}


def _git(*arguments: str) -> str | None:
    """What git says about the checkout that this file is part of; None where it is part of none."""

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=CODE, capture_output=True, text=True, errors="replace", check=False)

    try:
        # An installed package may lie within the checkout of something else.
        if ask("ls-files", "--error-unmatch", Path(__file__).name).returncode != 0:
            return None
        answer = ask(*arguments)
    except FileNotFoundError:
        return None
    return answer.stdout if answer.returncode == 0 else None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", info.read_text()) if info.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """The names of the NVIDIA devices, from the driver."""
    texts = [Path(path).read_text(encoding="utf-8") for path in sorted(glob("/proc/driver/nvidia/gpus/*/information"))]
    return [found[1] for text in texts if (found := re.search(r"Model:\s*(.*)", text))]
