"""What a wrong command line gets: one line, a code that is not 0, within seconds; and nothing is lost by it."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shlex
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from photo_tree import coco, photo, photos, voc, write
from wrong_commands import TRAIN, WRONG

from cam_lightning.backbone.squeezenet_gap import squeezenet_gap

pytestmark = pytest.mark.slow

SECONDS = 20.0
ALLOWED = 10
"""How many of the lines may be answered worse than this, of 400."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The places that the lines name: a run that took days, photos that nobody has twice, and what is broken."""
    root = tmp_path_factory.mktemp("world")
    runs = root / "runs"
    arguments = shlex.split(TRAIN)[1:]
    commands.run("train", *arguments, f"run_dir={runs}/run", cwd=root)
    places = {"runs": runs, "run": runs / "run", "scratch": root / "scratch"}
    for name in ("unfinished", "no_config", "bad_config", "bad_checkpoint"):
        places[name] = Path(shutil.copytree(runs / "run", root / name))
        write(places[name] / "status.json", '{"state": "interrupted"}')
    (places["no_config"] / "config.yaml").unlink()
    write(places["bad_config"] / "config.yaml", "{garbage")
    for name in ("last", "previous"):
        write(places["bad_checkpoint"] / "checkpoints" / f"{name}.ckpt", b"garbage")
    places["empty"] = root / "empty"
    places["empty"].mkdir()
    places["text"] = write(root / "text.txt", "some words\n")
    _photos(root, places)
    _weights(root, places)
    _maps(root, places)
    _submission(root, places)
    commands.run("resize_data", "dataset=folder", f"dataset.root={places['photos']}", f"to={root}/photo_copy", cwd=root)
    commands.run("resize_data", "dataset.num_train=20", "dataset.num_test=20", f"to={root}/copy", cwd=root)
    return places | {"photo_copy": root / "photo_copy", "copy": root / "copy"}


def _photos(root: Path, places: dict[str, Path]) -> None:
    names = [f"images/{split}/{c}/{n}.jpg" for split in ("train", "test") for c in ("cat", "dog") for n in range(3)]
    places["photos"] = photos(root / "photos", *names)
    places["photo"] = places["photos"] / names[0]
    below = [name.removeprefix("images/") for name in names]
    for name in below:
        write((places["photos"] / "broken_voc" / name).with_suffix(".xml"), "<annotation><size>")
        write(places["photos"] / "other_names" / f"x{name.replace('/', '_')}.xml", voc("cat", (1, 2, 3, 4)))
    for file, text in {
        "broken.json": "{",
        "odd_ids.json": coco(dict.fromkeys(below, "cat")).replace('"image_id": 1', '"image_id": [1]'),
        "other_names.json": coco({f"other-{i}.jpg": "cat" for i in range(12)}),
        "no_columns.csv": "a,b\n1,2\n",
        "fractions.csv": "image,x0,y0,x1,y1\n" + "".join(f"{name},0.1,0.1,0.5,0.5\n" for name in below),
        "outside.csv": "image,x0,y0,x1,y1\n" + "".join(f"{name},900,900,950,950\n" for name in below),
        "words.csv": "image,x0,y0,x1,y1\n" + "".join(f"{name},left,1,2,3\n" for name in below),
        "long.csv": f"image,x0,y0,x1,y1\n{'x' * 200_000},1,1,2,2\n",
    }.items():
        write(places["photos"] / file, text)
    places["too_high"] = photos(root / "too_high", *(f"set/{name}" for name in below)).absolute()
    places["split_beside_classes"] = photos(
        root / "split_beside_classes", *(f"{c}/{n}.jpg" for c in ("bus", "car", "train") for n in range(4))
    )
    places["one_class_lost"] = photos(root / "one_class_lost", "train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg")
    places["truncated"] = photos(root / "truncated", *below)
    for path in places["truncated"].rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:-100])
    places["broken"] = write(root / "broken.jpg", photo(1)[:200])


def _weights(root: Path, places: dict[str, Path]) -> None:
    places["weights"] = root / "weights.pth"
    torch.manual_seed(1)
    torch.save(squeezenet_gap(1000).state_dict(), places["weights"])
    whole = places["weights"].read_bytes()
    places["half"] = write(root / "half.ckpt", whole[: len(whole) // 2])
    places["pickled"] = root / "pickled.pth"
    torch.save(torch.nn.Linear(2, 2), places["pickled"])


def _maps(root: Path, places: dict[str, Path]) -> None:
    places["maps"], places["metadata"] = root / "maps", root / "metadata"
    for name in "ab":
        content = io.BytesIO()
        np.save(content, np.random.default_rng(0).random((224, 224), np.float32))
        write(places["maps"] / f"{name}.npy", content.getvalue())
    write(places["metadata"] / "image_ids.txt", "a\nb\n")
    write(places["metadata"] / "image_sizes.txt", "a,50,30\nb,50,30\n")
    write(places["metadata"] / "localization.txt", "a,1,2,30,20\nb,1,2,30,20\n")


def _submission(root: Path, places: dict[str, Path]) -> None:
    places["submission"] = write(root / "submission.txt", "1 1 2 30 20\n2 1 2 30 20\n")
    places["labels"] = write(root / "labels.txt", "1\n2\n")
    boxes = io.StringIO()
    csv.writer(boxes).writerows([("image", "label", "xmin", "ymin", "xmax", "ymax"), (1, 1, 1, 2, 30, 20)])
    places["boxes"] = write(root / "boxes.csv", boxes.getvalue())
    places["classes"] = write(root / "classes.txt", "n01440764 449 tench\n")


def answered(line: str, world: dict[str, Path]) -> list[str]:
    """What is wrong with the answer that a line gets; nothing where it is as it should be."""
    entry, *arguments = shlex.split(line.format(**{name: shlex.quote(str(path)) for name, path in world.items()}))
    folder = world["scratch"]
    folder.mkdir(exist_ok=True)
    if entry != "report" and not any(each.startswith(("paths.runs=", "run_dir=")) for each in arguments):
        arguments.append(f"paths.runs={folder}/runs")
    # What else the machine does at the same time takes its share of them.
    allowed = SECONDS * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
    start = time.monotonic()
    try:
        done = commands.run(entry, *arguments, cwd=folder, check=False, timeout=2 * allowed)
    except TimeoutError:
        return [f"no end within {2 * allowed:g} s"]
    seconds = time.monotonic() - start
    said = done.stderr + done.stdout
    faults = [f"{seconds:.0f} s"] if seconds > allowed else []
    if done.returncode == 0:
        faults.append("exit code 0")
    if "Traceback (most recent call last)" in said:
        faults.append(f"a traceback: {said.strip().splitlines()[-1][:200]}")
    errors = [each for each in done.stderr.splitlines() if re.match(r"(report|.*): error: |error: ", each)]
    lines = [each for each in done.stderr.splitlines() if each.strip()]
    if len(errors) > 1 or (not errors and not 1 <= len(lines) <= 45):
        faults.append(f"{len(errors)} errors in {len(lines)} lines")
    if errors and len(errors[0]) > 1200:
        faults.append(f"a line of {len(errors[0])} characters")
    return faults


def fingerprint(world: dict[str, Path]) -> dict[str, str]:
    """Every file but those of the runs that the lines themselves make; a run's lock is none of its content."""
    root = world["scratch"].parent
    files = [
        path
        for path in root.rglob("*")
        if path.is_file() and world["scratch"] not in path.parents and path.name != "running.lock"
    ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_there_are_four_hundred_of_them() -> None:
    lines = [line for of_kind in WRONG.values() for line in of_kind]
    assert len(lines) == len(set(lines)) == 400
    assert len({line.split()[0] for line in lines}) == 9, "of every command"


def test_a_wrong_line_gets_one_line_and_loses_nothing(world: dict[str, Path]) -> None:
    before = fingerprint(world)
    lines = [line for of_kind in WRONG.values() for line in of_kind]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        answers = dict(zip(lines, pool.map(lambda line: answered(line, world), lines), strict=True))
    bad = {line: faults for line, faults in answers.items() if faults}
    text = "\n".join(f"{line}\n    {'; '.join(faults)}" for line, faults in bad.items())
    print(f"{len(lines) - len(bad)} of {len(lines)} good\n{text}")
    assert fingerprint(world) == before
    assert len(bad) <= ALLOWED, text
    assert not [line for line, faults in bad.items() if any("no end" in fault for fault in faults)], text
