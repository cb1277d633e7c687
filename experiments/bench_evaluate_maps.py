"""What `evaluate_maps` costs, in time and memory: `python -m experiments.bench_evaluate_maps`.

Smooth random maps of 14×14 cells in float16, with one or two boxes each, are written to a temporary folder and scored
at 224×224 in both modes, with 1,000 thresholds and three IoU. Prints maps per second, what 50,000 would take, and
the process's peak memory after each tenth: it stays flat.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from cam_lightning.localization.map_scorer import MapScorer, score_all


def main() -> None:
    """Prints one line per tenth, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=None, help="default: one per core")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.maps)
        scorer = MapScorer(Path(folder) / "maps", Path(folder) / "metadata")
        scorer.score(range(1))  # compiles
        start, cpu_start, done = time.perf_counter(), time.process_time(), 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if done * 10 // options.maps > (done - count) * 10 // options.maps:
                print(f"{done:7,} maps, {time.perf_counter() - start:7.1f} s, peak {peak():6.0f} MB", flush=True)

        score_all(scorer, options.threads, advance)
        each = (time.perf_counter() - start) / options.maps
        cpu_each = (time.process_time() - cpu_start) / options.maps
    print(
        f"{1 / each:.0f} maps/s, {each * 1e3:.2f} ms each, {cpu_each * 1e3:.2f} ms of CPU; "
        f"50,000 take {50_000 * each / 60:.1f} minutes"
    )


def write(folder: Path, count: int) -> None:
    """A folder of maps and its metadata; 100 folders of images, as ids may have."""
    rng = np.random.default_rng(0)
    names = [f"{i % 100:02d}/{i}.jpg" for i in range(count)]
    for part in range(100):
        (folder / "maps" / f"{part:02d}").mkdir(parents=True)
    for name in names:
        cells = rng.random((16, 16))
        smooth = np.mean([cells[y : y + 14, x : x + 14] for y in range(3) for x in range(3)], axis=0)
        np.save(folder / "maps" / f"{name}.npy", smooth.astype(np.float16))
    (folder / "metadata").mkdir()
    corners = [rng.integers(0, [200, 150], 2).tolist() for _ in names]
    rows = [f"{name},{x},{y},{x + 220},{y + 190}" for name, (x, y) in zip(names, corners, strict=True)]
    rows += [f"{name},0,0,120,99" for name in names[::3]]
    lines = {"image_ids": names, "image_sizes": [f"{name},500,375" for name in names], "localization": rows}
    for file, content in lines.items():
        (folder / "metadata" / f"{file}.txt").write_text("\n".join(content) + "\n")


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
