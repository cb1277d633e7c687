"""The Weights & Biases run of a job: opened before anything is trained, closed with the job's exit code."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import yaml

log = logging.getLogger(__name__)

STEP = "trainer/global_step"
"""What every number is drawn over."""


def start_run(run_dir: Path, project: str, entity: str | None, mode: str, group: str | None = None) -> Any:
    """Opens the job's one run, in a group such as its sweep, and returns it; the configuration is read from `run_dir`.

    A job that goes on has the id that it had: its run continues online, and `wandb sync --append` puts the
    pieces of an offline run together.

    `mode` is `offline` (files below `<run_dir>/wandb`, for `wandb sync`) or `online`. Raises ImportError
    without the package, ConnectionError where online has no account or no network, ValueError for other options
    that W&B refuses.
    """
    if mode not in ("offline", "online"):
        raise ValueError(f"logger.wandb.mode is offline or online; got {mode!r}")
    try:
        import wandb
    except ImportError as error:
        raise ImportError("logger=wandb needs a package: pip install wandb") from error
    try:
        # Asked for here, because wandb itself would ask at the terminal, or go offline without a word.
        if mode == "online" and not wandb.login(prompt=False):
            raise ConnectionError(
                "logger.wandb.mode=online has no account: run `wandb login` once, or leave the mode at offline"
            )
        config_file = run_dir / "config.yaml"
        run = wandb.init(
            project=project,
            entity=entity,
            mode=mode,  # type: ignore[arg-type]
            dir=str(run_dir),
            name=run_dir.name,
            id=_earlier_id(run_dir),
            resume="allow" if mode == "online" else None,
            group=group,
            config=yaml.safe_load(config_file.read_text(encoding="utf-8")) if config_file.exists() else None,
            reinit="finish_previous",
            # The terminal belongs to the progress bar, and log.txt holds what was said.
            settings=wandb.Settings(silent=True, console="off"),
        )
    except wandb.Error as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        if mode == "offline":
            raise ValueError(f"logger=wandb could not start: {reason}") from error
        raise ConnectionError(
            f"logger.wandb.mode=online has no network or no valid account ({reason}); mode=offline needs neither"
        ) from error
    where = run.url if mode == "online" else f"{Path(run.dir).parent}; `wandb sync` uploads it"
    log.info("Weights & Biases, %s: %s", mode, where)
    # Steps are the trainer's, as in metrics.csv; W&B's own count the calls.
    run.define_metric("*", step_metric=STEP)
    return run


def _earlier_id(run_dir: Path) -> str | None:
    """The id of the run that this directory already holds: W&B's folders are called `…run-<date>_<time>-<id>…`."""
    names = sorted(path.name for path in run_dir.glob("wandb/*run-*"))
    ids = [found[1] for name in names if (found := re.search(r"run-\d+_\d+-([^-]+)", name))]
    return ids[-1] if ids else None


def finish_run(run_dir: Path, exit_code: int) -> None:
    """Closes the job's run, if it has one, with `results.json` as its summary and the job's exit code.

    What each number is stays out of the summary; of those that have a better direction W&B is told it.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return
    run = wandb.run
    file = run_dir / "results.json"
    if file.exists():
        results = json.loads(file.read_text(encoding="utf-8"))
        for key, spec in results.pop("specs", {}).items():
            if spec["better"] is not None:
                run.define_metric(key, step_metric=STEP, summary="min" if spec["better"] == "lower" else "max")
        run.summary.update(results)
    run.finish(exit_code=exit_code)
    # `finish` returns before the last records are on the disk; the end of wandb's own process does not.
    wandb.teardown(exit_code=exit_code)
