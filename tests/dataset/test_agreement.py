"""`check_data` and `train` agree on all trees that the tests of this room make, whole and broken ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).parent
DATASETS = {
    "Ade20k", "Caltech101", "Caltech256", "Captions", "Cub200", "Folder", "Ilsvrc", "MitIndoor67", "OpenImages30k",
    "PascalVoc", "Scene15", "StanfordAction40", "StreetViewText", "Sun397", "SunAttribute", "SunObjects",
    "TinyImageNet", "UiucEvent8", "Vqa",
}  # fmt: skip
"""All but what draws its own images."""


@pytest.mark.slow
def test_the_check_and_a_run_agree_on_all_trees_of_these_tests() -> None:
    """By `agreement.py`, after every test."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "agreement", "-m", "not slow and not reference", str(ROOM)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOM), *filter(None, [os.environ.get("PYTHONPATH")])])},
        cwd=ROOM.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    counts = {
        (name, how): int(number)
        for name, how, number in re.findall(r"^agree: (\w+) (read|refused) (\d+)$", done.stdout, re.MULTILINE)
    }
    assert {name for name, how in counts if how == "read"} == DATASETS
    assert sum(number for (_, how), number in counts.items() if how == "read") > 100
    assert sum(number for (_, how), number in counts.items() if how == "refused") > 100


def test_every_dataset_is_among_them() -> None:
    from cam_lightning.run.place import CONF

    stems = {path.stem for path in (CONF / "dataset").glob("*.yaml")} - {"default", "shapes", "imagenette"}
    assert {name.lower() for name in DATASETS} == {stem.replace("_", "") for stem in stems}
