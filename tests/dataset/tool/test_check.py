"""The check's counts and its text; what single things it finds is in test_folder.py."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cam_lightning.dataset.folder import Folder
from cam_lightning.dataset.pipeline.split import Subset
from cam_lightning.dataset.shapes import Shapes
from cam_lightning.dataset.tool.check import Inspections, check, inspect
from cam_lightning.dataset.tool.check_text import LINES_PER_KIND, as_data, as_text
from cam_lightning.dataset.tool.contact_sheet import sample_sheet


def plain(things: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    return things


def save(path: Path, seed: int, mode: str = "RGB", **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)


def test_images_that_are_made_and_not_read() -> None:
    report = check(Shapes(num_train=20, num_test=10), False, plain)
    assert report.findings == []
    assert {name: (split.num_images, split.num_without_box) for name, split in report.splits.items()} == {
        "train": (20, 0),
        "test": (10, 0),
    }
    assert sum(report.splits["train"].num_per_class.values()) == 20


@pytest.fixture
def mixed(tmp_path: Path) -> Folder:
    """A test split of one class: a grey, a palette and a CMYK image; of boxes one is a pixel too wide."""
    save(tmp_path / "test/cat/a.jpg", 0, "L")
    save(tmp_path / "test/cat/b.png", 1, "P")
    save(tmp_path / "test/cat/c.jpg", 2, "CMYK")
    (tmp_path / "test/notes.txt").write_text("not an image")
    (tmp_path / "annotations.csv").write_text(
        "image,xmin,ymin,xmax,ymax\na.jpg,0,0,19,11\na.jpg,1,1,2,2\nb.png,1,1,20,12\n"
    )
    return Folder(str(tmp_path), format="csv", on_bad_image="skip")


def test_counts_of_modes_and_boxes(mixed: Folder) -> None:
    report = check(mixed, False, plain)
    (split,) = report.splits.values()
    assert split.traits == {"grey": 1, "palette": 1, "CMYK": 1}
    assert (split.num_images, split.num_boxes, split.num_without_box, split.num_overhanging) == (3, 3, 1, 1)
    assert report.wrong == []
    assert {finding.kind for finding in report.findings} == {"extra file", "no training images"}
    text = as_text(report)
    lines = [line.split() for line in text.splitlines()]
    header = next(line for line in text.splitlines() if line.lstrip().startswith("split"))
    assert header.index("CMYK") < header.index("palette") < header.index("EXIF-rotated")
    assert ["test", "3", "3", "1", "1", "0", "1", "0", "1", "0", "0"] in lines
    assert "test/notes.txt" in text
    assert "the boxes of 1 images end up to a pixel outside them" in text
    assert "Nothing is wrong." in text
    assert as_data(report)["splits"]["test"]["num_boxes"] == 3


def test_a_long_list_is_cut_in_the_text_and_whole_in_the_data(tmp_path: Path) -> None:
    for number in range(LINES_PER_KIND + 5):
        (tmp_path / "test" / "cat").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"test/cat/{number:02}.jpg").write_bytes(b"no image")
    report = check(Folder(str(tmp_path), on_bad_image="skip"), False, plain)
    text = as_text(report)
    assert text.count("no image of a known kind") == LINES_PER_KIND
    assert "wrong: unreadable (25)" in text
    assert "  … and 5 more" in text
    assert "Found wrong: 25." in text
    assert len(as_data(report)["findings"]) == 26
    assert report.found is not None
    assert sample_sheet(report.found.parts(), report.found.names, 4) is None


def test_a_subset_shows_its_own_images(mixed: Folder) -> None:
    subset = Subset(mixed.read_splits().test, np.array([2]))
    assert inspect(subset, 0, deep=True).traits == ("CMYK",)
    name, data = subset.encoded(0) or ("", b"")
    assert name.endswith("test/cat/c.jpg")
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert len(Inspections(subset, deep=False)) == 1


def test_the_sheet_shows_boxes(mixed: Folder) -> None:
    splits = mixed.read_splits()
    sheet = sample_sheet(splits.parts(), splits.names, 3)
    assert sheet is not None
    assert (sheet == (0, 229, 255)).all(2).any()
