"""What an index of ILSVRC's size costs: `python -m experiments.bench_dataset`.

Writes a tree of 1,281,167 empty files (or `--entries`) in 1,000 class folders, and reads it as the training split of
`dataset=ilsvrc`, first anew, then from the kept index, and as torchvision's ImageFolder. Each in a process of its
own: seconds, growth of resident memory, and what a forked worker has of its own after it has looked at every entry.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from cam_lightning.dataset.ilsvrc import Ilsvrc
from cam_lightning.dataset.imagenet import imagenet_classes
from cam_lightning.dataset.pipeline.split import hold_out
from cam_lightning.dataset.pipeline.storage import Storage

AGE = 1e9
"""Folders are dated back: what has just changed is not kept."""


def main() -> None:
    """Prints one line per way to read the tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_281_167, help="files in the tree")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "ILSVRC", Path(folder) / "cache"
        write_tree(root, options.entries)
        for name, way in (("index, anew", read_index), ("index, kept", read_index), ("ImageFolder", read_image_folder)):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                print(process.submit(measured, name, way, root, cache).result(), flush=True)


def write_tree(root: Path, entries: int) -> None:
    """Empty files, evenly over the classes; every folder is dated back."""
    classes = imagenet_classes()
    for number, wnid in enumerate(classes):
        folder = root / "train" / wnid
        folder.mkdir(parents=True)
        for i in range(number, entries, len(classes)):
            os.close(os.open(folder / f"{wnid}_{i // len(classes)}.JPEG", os.O_CREAT))
        os.utime(folder, (AGE, AGE))
    for folder in (root / "train", root):
        os.utime(folder, (AGE, AGE))


def read_index(root: Path, cache: Path) -> Callable[[], int]:
    """Our training split, as `setup` makes it: indexed, a tenth of it held out."""
    data = Ilsvrc(root=str(root), cache=str(cache))
    # The training split alone: the validation photos would need labels, and cost little beside it.
    split = data._train(Storage(root), ("train",), "val", imagenet_classes())
    assert split is not None
    kept, held_out = hold_out(split, 0.1, seed=0)
    return lambda: sum(len(part.ids[i]) + int(part.label_N[i]) for part in (kept, held_out) for i in range(len(part)))


def read_image_folder(root: Path, cache: Path) -> Callable[[], int]:
    """torchvision's list of samples."""
    from torchvision.datasets import ImageFolder

    samples = ImageFolder(str(root / "train")).samples
    return lambda: sum(len(path) + label for path, label in samples)


def measured(name: str, way: Callable[[Path, Path], Callable[[], int]], root: Path, cache: Path) -> str:
    """One line of results."""
    import torchvision  # noqa: F401 (its memory is nobody's index)

    before, start = memory("Rss"), time.perf_counter()
    look_at_every_entry = way(root, cache)
    seconds, growth = time.perf_counter() - start, memory("Rss") - before
    # Pages of a file that is not yet on the disk would count as the worker's own.
    os.sync()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    worker = os.fork()
    if worker == 0:
        own = memory("Private_Dirty")
        look_at_every_entry()
        sender.send(memory("Private_Dirty") - own)
        os._exit(0)
    per_worker = receiver.recv()
    os.waitpid(worker, 0)
    return f"{name}: {seconds:6.2f} s, {growth:6.1f} MB, per worker {per_worker:6.1f} MB"


def memory(kind: str) -> float:
    """Megabytes of this process, of one kind of Linux's `smaps_rollup`."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


if __name__ == "__main__":
    main()
