"""`experiments.bench_dataset`: what it times is read, anew, from the kept index, and by the other side."""

from __future__ import annotations

from pathlib import Path

from experiments.bench_dataset import read_image_folder, read_index, write_tree


def test_every_way_reads_every_entry_of_the_tree(tmp_path: Path) -> None:
    root, cache = tmp_path / "ILSVRC", tmp_path / "cache"
    write_tree(root, 2_003)
    # 1,000 classes have two photos or three: what a way gives is their labels' sum, and the lengths of their paths.
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.JPEG"))
    assert len(files) == 2_003
    labels = sum(number % 1_000 for number in range(2_003))
    anew = read_index(root, cache)()
    assert anew == sum(map(len, files)) + labels
    (kept,) = cache.glob("ilsvrc-train-*.index")
    before = kept.stat().st_mtime_ns
    assert read_index(root, cache)() == anew
    assert kept.stat().st_mtime_ns == before, "read, not made again"
    assert read_image_folder(root, cache)() == sum(len(f"{root}/{file}") for file in files) + labels
