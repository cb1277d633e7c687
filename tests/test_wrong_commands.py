"""What a wrong command line gets: one line, a code that is not 0, within seconds; and nothing is lost by it."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from photo_tree import coco, photo, photos, voc, write
from wrong_commands import TRAIN, WRONG

from cam_lightning.backbone.squeezenet_gap import squeezenet_gap

SECONDS = 20.0
"""On a machine that does nothing else (`commands.measured`)."""
CLOCK = 200.0
"""Seconds on the clock of a busy one, after which a command is ended."""
LINE = 600
"""Characters: a sentence, and the names of what there is of a group."""
LINES = 20
"""Of all that is printed beside results: what was read before the fault, and a list of at most ten faults."""
FRESH = 20
"""One line in so many is an interpreter of its own, as a user's; the others are forks."""
LINES_OF_KINDS = [(kind, line) for kind, lines in WRONG.items() for line in lines]


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
    for name in ("photo", "unsplit"):
        source = places["photos" if name == "photo" else name]
        commands.run("resize_data", "dataset=folder", f"dataset.root={source}", f"to={root}/{name}_copy", cwd=root)
        places[f"{name}_copy"] = root / f"{name}_copy"
    commands.run("resize_data", "dataset.num_train=20", "dataset.num_test=20", f"to={root}/copy", cwd=root)
    return places | {"copy": root / "copy"}


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
    places["unsplit"] = photos(root / "unsplit", *(f"{c}/{n}.jpg" for c in ("cat", "dog") for n in range(5)))
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


def answered(line: str, world: dict[str, Path], fresh: bool = False) -> list[str]:
    """What is wrong with the answer that a line gets; nothing where it is as it should be."""
    entry, *arguments = shlex.split(line.format(**{name: shlex.quote(str(path)) for name, path in world.items()}))
    folder = world["scratch"]
    folder.mkdir(exist_ok=True)
    if entry != "report" and not any(each.startswith(("paths.runs=", "run_dir=")) for each in arguments):
        arguments.append(f"paths.runs={folder}/runs")
    try:
        done, seconds = commands.measured(entry, *arguments, cwd=folder, timeout=CLOCK, fresh=fresh)
    except TimeoutError:
        return [f"no end within {CLOCK:g} s"]
    return [*([f"{seconds:.0f} s"] if seconds > SECONDS else []), *faults_of(done)]


def faults_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What is wrong with how a command ended, and with what it said: that is one line, and a list below it at most."""
    faults = []
    if done.returncode <= 0:
        faults.append(f"exit code {done.returncode}")
    said = done.stderr + done.stdout
    if "Traceback (most recent call last)" in said:
        faults.append(f"a traceback: {said.strip().splitlines()[-1][:200]}")
    lines = [each for each in done.stderr.splitlines() if each.strip()]
    errors = [number for number, each in enumerate(lines) if re.match(r"(\S.*: )?error: ", each)]
    if len(errors) != 1:
        return [*faults, f"{len(errors)} errors in {len(lines)} lines"]
    if len(lines[errors[0]]) > LINE:
        faults.append(f"a line of {len(lines[errors[0]])} characters")
    if len(lines) > LINES:
        faults.append(f"{len(lines)} lines")
    after = [
        each for each in lines[errors[0] + 1 :] if not each.startswith(("  ", "The traceback is in ", "Mend them"))
    ]
    return [*faults, *(f"after the error: {each[:200]}" for each in after[:1])]


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
    assert len(LINES_OF_KINDS) == len({line for _, line in LINES_OF_KINDS}) == 400
    assert len({line.split()[0] for _, line in LINES_OF_KINDS}) == 9, "of every command"


@pytest.mark.parametrize(
    ("code", "out", "err", "fault"),
    [
        (1, "", "error: seed is a number\n", ""),
        (1, "runs/1\n", "10:00:00 data: 3\n\nerror: seed is a number\nThe traceback is in runs/1/status.json\n", ""),
        (2, "", "usage: train.py [--help]\ntrain.py: error: unrecognized arguments: --x\n", ""),
        (1, "", "error: found wrong in photos: 2\n  a: is not XML\n  b: is not XML\nMend them, or not.\n", ""),
        (0, "", "error: seed is a number\n", "exit code 0"),
        (-9, "", "error: seed is a number\n", "exit code -9"),
        (1, "", "", "0 errors in 0 lines"),
        (1, "", "In 'parts': Could not find 'backbone/x'\nAvailable options:\n\ta\n", "0 errors in 3 lines"),
        (1, "", "error: a\nerror: b\n", "2 errors in 2 lines"),
        (1, "", "error: a\nand a page\n", "after the error: and a page"),
        (1, "", f"error: {'x' * 600}\n", "a line of 607 characters"),
        (1, "", "error: a\n" + "  b\n" * 20, "21 lines"),
        (1, "Traceback (most recent call last):\n", "error: a\n", "a traceback: Traceback"),
    ],
)
def test_what_a_good_answer_is(code: int, out: str, err: str, fault: str) -> None:
    found = "; ".join(faults_of(subprocess.CompletedProcess([], code, out, err)))
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_line_gets_one_line_and_loses_nothing(kind: str, world: dict[str, Path]) -> None:
    before = fingerprint(world)
    lines = {line: position % FRESH == 0 for position, (of, line) in enumerate(LINES_OF_KINDS) if of == kind}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        faults = list(pool.map(lambda line: answered(line, world, fresh=lines[line]), lines))
    bad = [f"{line}\n    {'; '.join(found)}" for line, found in zip(lines, faults, strict=True) if found]
    print(f"{kind}: {len(lines) - len(bad)} of {len(lines)} good")
    assert fingerprint(world) == before
    assert not bad, "\n".join(bad)
