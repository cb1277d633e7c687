"""Table 4 on CUB-200-2011: `python -m experiments.table4 FOLDER dataset.root=CUB_200_2011 backbone.weights=FILE`.

Four runs below FOLDER, each with the options given: `full`, a linear SVM on features of whole photos; `train_boxes`,
where its class activation maps find the training photos' birds (those of the test photos `full` has found); `crop`,
the SVM on features of these boxes; `bbox`, on those of the ground-truth boxes. Prints a table. A run that FOLDER holds
finished is not run again, and a line says so where it was made with other options; one that was cut off is begun anew,
and finds the features that it had computed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.prediction_table import read_predictions
from experiments.kept import tell_if_made_otherwise

PAPER = {"full": 63.0, "crop": 67.8, "bbox": 70.5}
"""Accuracy in per cent, with GoogLeNet-GAP's features."""
PAPER_HITS = "41.0, by chance 5.5"
VIEWS = {"full": "whole photo", "crop": "box of the class activation map", "bbox": "ground-truth box"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the runs")
    parser.add_argument("options", nargs="*", help="of every probe, as dataset.root=… backbone.weights=… features=…")
    arguments = parser.parse_args()
    folder = arguments.folder.expanduser().absolute()
    for name, command in commands(folder, arguments.options).items():
        if not finished(folder / name, command):
            sys.exit(f"error: {name} has not ended well; what there was to say stands above, and in {folder / name}")
    Console().print(table(folder))


def commands(folder: Path, options: list[str]) -> dict[str, list[str]]:
    """By run: an entry point and its overrides."""
    crops = ",".join(f"'{folder / name / 'predictions.csv'}'" for name in ("full", "train_boxes"))
    return {
        "full": ["probe", "experiment=paper/table4_full", *options],
        "train_boxes": ["evaluate", f"checkpoint={folder / 'full'}", "+dataset.test_split=train"],
        "crop": ["probe", "experiment=paper/table4_crop", f"dataset.crops=[{crops}]", *options],
        "bbox": ["probe", "experiment=paper/table4_bbox", *options],
    }


def finished(path: Path, command: list[str]) -> bool:
    """Sees to it that a run is there, finished; whether it is."""
    if RunDirectory(path).read_status().get("state") == "finished":
        tell_if_made_otherwise(path, command)
        return True
    if (path / "status.json").is_file():
        shutil.rmtree(path)
    print(f"\n{path.name}: python -m cam_lightning.{' '.join(command)}", flush=True)
    entry, *overrides = command
    done = subprocess.run([sys.executable, "-m", f"cam_lightning.{entry}", *overrides, f"run_dir={path}"], check=False)
    return done.returncode == 0


def hits(predictions: Path) -> float:
    """The share of images where the box of the best guess, right or wrong, overlaps the bird's by at least half."""
    return float(np.mean([row.ious[0] >= 0.5 for row in read_predictions(predictions, ("id", "ious"))]))


def table(folder: Path) -> Table:
    """Accuracy by view beside the paper's, then how often boxes hit."""
    results: dict[str, dict[str, Any]] = {
        name: json.loads((folder / name / "results.json").read_text(encoding="utf-8")) for name in VIEWS
    }
    shown = Table(title="CUB-200-2011, %", title_justify="left")
    for column in ("", "accuracy", "mean over classes", "paper"):
        shown.add_column(column, justify="right" if column else "left")
    for name, what in VIEWS.items():
        accuracies = [100 * (1 - results[name][f"test/classification_error/{key}"]) for key in ("top1", "class_mean")]
        shown.add_row(what, *(f"{value:.1f}" for value in accuracies), f"{PAPER[name]:.1f}")
    shown.add_section()
    full = results["full"]
    threshold = full["protocol/box/threshold"]
    shown.add_row(
        f"boxes at {threshold:g} that hit, of the best guess", f"{100 * hits(folder / 'full/predictions.csv'):.1f}", "",
        PAPER_HITS,
    )  # fmt: skip
    for what, key in {
        "… of the true class": "test/gt_known_error",
        "… the whole image": "test/baseline/whole_image/gt_known_error",
        f"… the centred box of {full['protocol/baseline/centre_box']:g}": "test/baseline/centre_box/gt_known_error",
        "… of the true class at the best threshold of the test photos": "test/gt_known_error@oracle",
    }.items():
        shown.add_row(what, f"{100 * (1 - full[key]):.1f}")
    # Of each photo the maps of five guesses and of the true class; the box of one without a region is the whole photo.
    without = full["test/num_degenerate_maps"] / (6 * full["test/num_images"])
    shown.add_row("maps that name no region", f"{100 * without:.1f}")
    return shown


if __name__ == "__main__":
    main()
