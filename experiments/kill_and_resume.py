"""What is left of a run that is killed: `python -m experiments.kill_and_resume FOLDER`.

A tiny run on drawn scenes is killed with `kill -9` at random steps, within a checkpoint's writing, with a damaged last
checkpoint, without room on the disk, by signals, and one of two processes at a time; then it is resumed. The final
weights, the optimizer's state, every number logged and the results are compared with those of a run that nothing
interrupted, bit for bit. Prints a table; cases that FOLDER holds already are not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

TINY = [
    "dataset=shapes",
    "dataset.num_train=64",
    "dataset.num_test=12",
    "dataset.image_size=32",
    "dataset.train_size=32",
    "dataset.augmentation.resize=40",
    "dataset.augmentation.crop=32",
    "dataset.batch_size=4",
    "dataset.val_fraction=0.25",
    "dataset.num_workers=0",
    "backbone=googlenet_gap",
    "backbone.width=0.25",
    "backbone.stride=8",
    "callback=[localization,checkpoint]",
    "callback.checkpoint.every_minutes=0.005",
    "trainer=cpu",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=1",
    "seed=5",
]
STEPS = 33
"""11 batches of 4 in each of 3 epochs."""
PATIENCE = 400.0


class Job:
    """One process of `cam_lightning.train`, with what it prints in a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.output = folder.with_name(f"{folder.name}.txt")
        with self.output.open("a") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cam_lightning.train", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
            )

    def wait_for(self, is_so: Callable[[], bool], pause: float = 0.005) -> None:
        """Until something is so; RuntimeError where the process ends before, or nothing happens."""
        start = time.monotonic()
        while not is_so():
            if self.process.poll() is not None or time.monotonic() - start > PATIENCE:
                self.process.kill()
                raise RuntimeError(f"waited in vain; see {self.output}")
            time.sleep(pause)

    def children(self) -> list[int]:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(number) for task in tasks for number in task.read_text().split()]

    def end(self) -> int:
        """The exit code."""
        return self.process.wait(PATIENCE)


def start(folder: Path, *more: str) -> Job:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}.txt").unlink(missing_ok=True)
    return Job(folder, *TINY, f"run_dir={folder}", *more)


def logged(folder: Path) -> list[tuple[str, ...]]:
    """Every number logged, but for the time."""
    if not (folder / "metrics.csv").exists():
        return []
    with (folder / "metrics.csv").open(newline="") as file:
        return [tuple(row.values())[1:] for row in csv.DictReader(file) if None not in row.values()]


def step(folder: Path) -> int:
    """The last step that has been logged; -1 before the first."""
    rows = logged(folder)
    return int(rows[-1][0]) if rows else -1


def checkpoint(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / name, map_location="cpu", weights_only=True)


def differences(one: Any, other: Any, name: str = "") -> list[str]:
    """Where two nested values of a checkpoint differ, bit for bit."""
    if isinstance(one, torch.Tensor):
        return [] if isinstance(other, torch.Tensor) and torch.equal(one, other) else [name]
    if isinstance(one, dict):
        if not isinstance(other, dict) or one.keys() != other.keys():
            return [name]
        return [found for key in one for found in differences(one[key], other[key], f"{name}/{key}")]
    if isinstance(one, list):
        if not isinstance(other, list) or len(one) != len(other):
            return [name]
        return [
            found for i, pair in enumerate(zip(one, other, strict=True)) for found in differences(*pair, f"{name}/{i}")
        ]
    return [] if one == other else [name]


def compare(reference: Path, folder: Path) -> dict[str, str]:
    """The columns of the table that say whether a run ended as the uninterrupted one."""
    parts = ("state_dict", "optimizer_states", "lr_schedulers")
    one, other = ({part: checkpoint(path)[part] for part in parts} for path in (reference, folder))
    results = [json.loads((path / "results.json").read_text()) for path in (reference, folder)]
    return {
        "weights and optimizer": "identical"
        if not differences(one, other)
        else f"{differences(one, other)[:3]} differ",
        "numbers logged": "identical" if logged(reference) == logged(folder) else "differ",
        "results": "identical" if results[0] == results[1] else "differ",
    }


def resume(reference: Path, folder: Path) -> dict[str, str]:
    job = Job(folder, f"resume={folder}")
    code = job.end()
    if code != 0:
        return {"weights and optimizer": f"resuming ended with code {code}"}
    lines = [line for line in job.output.read_text().splitlines() if "going on from" in line or "no checkpoint" in line]
    where = lines[-1].rpartition("step ")[2].split()[0] if lines and "step " in lines[-1] else "the beginning"
    return {"resumed from step": where, **compare(reference, folder)}


def killed_at(reference: Path, folder: Path, at: int, delay: float) -> dict[str, str]:
    job = start(folder)
    job.wait_for(lambda: step(folder) >= at)
    time.sleep(delay)
    job.process.send_signal(signal.SIGKILL)
    job.end()
    return {"ended at step": str(step(folder)), **resume(reference, folder)}


def killed_while_writing(reference: Path, folder: Path) -> dict[str, str]:
    job = start(folder, "callback.checkpoint.every_minutes=0")
    part = folder / "checkpoints" / "last.ckpt.part"
    job.wait_for(lambda: step(folder) >= 5)
    job.wait_for(part.exists, pause=0)
    job.process.send_signal(signal.SIGKILL)
    job.end()
    half = f"{part.stat().st_size:,} bytes of it were written" if part.exists() else "it was just complete"
    return {"ended at step": str(step(folder)), **resume(reference, folder), "note": half}


def truncated(reference: Path, folder: Path) -> dict[str, str]:
    job = start(folder)
    job.wait_for(lambda: step(folder) >= 20)
    job.process.send_signal(signal.SIGKILL)
    job.end()
    ended = step(folder)
    last = folder / "checkpoints" / "last.ckpt"
    os.truncate(last, last.stat().st_size // 2)
    row = {"ended at step": str(ended), **resume(reference, folder)}
    said = "said so" if "the checkpoint before the last" in job.output.read_text() else "said nothing"
    return row | {"note": f"fell back to the one before, {said}"}


def without_room(reference: Path, folder: Path) -> dict[str, str]:
    job = start(folder)
    job.wait_for(lambda: step(folder) >= 8 and (folder / "checkpoints" / "last.ckpt").exists())
    resource.prlimit(job.process.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    code = job.end()
    ended, kept = step(folder), checkpoint(folder)["position"]["step"]
    state = json.loads((folder / "status.json").read_text())["state"]
    said = "could not be written" in job.output.read_text()
    note = f"code {code}, {state}, message {'yes' if said else 'no'}, last good checkpoint of step {kept} readable"
    return {"ended at step": str(ended), **resume(reference, folder), "note": note}


def signalled(reference: Path, folder: Path, number: int, at: int) -> dict[str, str]:
    job = start(folder, "callback.checkpoint.every_minutes=null")
    job.wait_for(lambda: step(folder) >= at)
    job.process.send_signal(number)
    code = job.end()
    state = json.loads((folder / "status.json").read_text())["state"]
    kept = checkpoint(folder)["position"]["step"]
    row = {"ended at step": str(step(folder)), **resume(reference, folder)}
    return row | {"note": f"code {code}, {state}, saved step {kept}"}


def of_two(folder: Path, rank: int, number: int) -> dict[str, str]:
    """One of two processes gets a signal: how long the other lives, and what it says."""
    job = start(folder, "trainer.devices=2", "trainer.timeout_minutes=0.75", "trainer.max_epochs=30")
    job.wait_for(lambda: step(folder) >= 3)
    (child,) = job.children()
    began = time.monotonic()
    os.kill(job.process.pid if rank == 0 else child, number)
    code = job.end()
    while Path(f"/proc/{child}").exists() and time.monotonic() - began < PATIENCE:
        os.kill(child, signal.SIGCONT)
        time.sleep(0.05)
    seconds = time.monotonic() - began
    said = [line for line in job.output.read_text().splitlines() if "error:" in line or "interrupted by" in line]
    state = json.loads((folder / "status.json").read_text())["state"]
    gone = "both gone" if not Path(f"/proc/{child}").exists() else "the other is still there"
    note = f"{gone} after {seconds:.1f} s, code {code}, {state}: {said[0][:110] if said else 'no message'}"
    return {"ended at step": str(step(folder)), "note": note}


def cases(folder: Path, kills: int, seed: int) -> dict[str, Callable[[Path], dict[str, str]]]:
    """Every case by its name."""
    reference = folder / "uninterrupted"
    chance = random.Random(seed)
    found: dict[str, Callable[[Path], dict[str, str]]] = {}
    for number in range(1, kills + 1):
        at, delay = chance.randrange(STEPS), chance.uniform(0.0, 0.2)
        found[f"kill -9, {number}"] = lambda path, at=at, delay=delay: killed_at(reference, path, at, delay)  # type: ignore[misc]
    found |= {
        "kill -9 within a checkpoint's writing": lambda path: killed_while_writing(reference, path),
        "last checkpoint truncated": lambda path: truncated(reference, path),
        "no room (file size limit)": lambda path: without_room(reference, path),
        "SIGTERM": lambda path: signalled(reference, path, signal.SIGTERM, 7),
        "SIGUSR1 (SLURM)": lambda path: signalled(reference, path, signal.SIGUSR1, 16),
        "kill -9 of rank 1 of 2": lambda path: of_two(path, 1, signal.SIGKILL),
        "kill -9 of rank 0 of 2": lambda path: of_two(path, 0, signal.SIGKILL),
        "rank 1 of 2 hangs (SIGSTOP)": lambda path: of_two(path, 1, signal.SIGSTOP),
        "SIGTERM to rank 0 of 2": lambda path: of_two(path, 0, signal.SIGTERM),
    }
    return found


def main() -> None:
    """Runs what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the runs go")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the steps that are killed at")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no further case after so long")
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + options.seconds
    table_file = folder / "table.json"
    table: dict[str, dict[str, str]] = json.loads(table_file.read_text()) if table_file.exists() else {}
    reference = folder / "uninterrupted"
    if not (reference / "results.json").exists() and start(reference).end() != 0:
        raise SystemExit(f"the uninterrupted run failed; see {reference}.txt")
    for name, case in cases(folder, options.kills, options.seed).items():
        if name not in table and time.monotonic() < deadline:
            table[name] = case(folder / re.sub(r"[^A-Za-z0-9]+", "_", name))
            table_file.write_text(json.dumps(table, indent=2))
            print(f"{name}: {table[name]}", flush=True)
    print_table(table)


def print_table(table: dict[str, dict[str, str]]) -> None:
    columns = ["ended at step", "resumed from step", "weights and optimizer", "numbers logged", "results", "note"]
    print("| case | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(row.get(column, "") for column in columns) + " |")


if __name__ == "__main__":
    main()
