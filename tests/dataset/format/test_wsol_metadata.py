"""The WSOL benchmark's index files, read as they are: hand-made ones, and the published ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cam_lightning.dataset.format.wsol_metadata import WsolMetadata, read_metadata

IDS = "a/1.jpg\nb, c/2.jpg\na/3.jpg\n"
LABELS = "a/3.jpg,0\na/1.jpg,0\nb, c/2.jpg,1\n"
SIZES = "a/1.jpg,40,30\nb, c/2.jpg,50,20\na/3.jpg,7,9\n"
BOXES = "a/3.jpg,1,2,3,4\na/1.jpg,5,6,7,8\na/3.jpg,0,0,0,0"


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def write(**files: str) -> Path:
        contents = {"image_ids": IDS, "class_labels": LABELS, "image_sizes": SIZES, "localization": BOXES, **files}
        for name, text in contents.items():
            (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def boxes(metadata: WsolMetadata, image: int) -> list[list[int]]:
    first, end = metadata.first_row_N1[image : image + 2]
    return metadata.corners_M4[first:end].tolist()


def test_rows_of_any_order_find_their_image(folder: Callable[..., Path]) -> None:
    found = read_metadata(folder())
    assert found.ids == ["a/1.jpg", "b, c/2.jpg", "a/3.jpg"]
    assert found.label_N.tolist() == [0, 1, 0]
    assert found.size_N2 is not None
    assert found.size_N2.tolist() == [[30, 40], [20, 50], [9, 7]]
    assert [boxes(found, i) for i in range(3)] == [[[5, 6, 7, 8]], [], [[1, 2, 3, 4], [0, 0, 0, 0]]]
    assert len(found.masks_M) == len(found.ignored_N) == 0


def test_masks_and_ignored_regions(folder: Callable[..., Path]) -> None:
    rows = "a/1.jpg,m/x.png,i/x.png\na/1.jpg,m/y.png,\nb, c/2.jpg,m/z.png,\n"
    found = read_metadata(folder(localization=rows, image_sizes=""))
    assert found.size_N2 is None
    assert found.first_row_N1.tolist() == [0, 2, 3, 3]
    assert found.masks_M == ["m/x.png", "m/y.png", "m/z.png"]
    assert found.ignored_N == ["i/x.png", "", ""]
    assert found.corners_M4.shape == (0, 4)


def test_the_proxy_list_chooses_images(folder: Callable[..., Path]) -> None:
    found = read_metadata(folder(image_ids_proxy="a/3.jpg\n"), proxy=True)
    assert (list(found.ids), found.label_N.tolist(), boxes(found, 0)) == (
        ["a/3.jpg"],
        [0],
        [[1, 2, 3, 4], [0, 0, 0, 0]],
    )
    with pytest.raises(ValueError, match=r"no row of .new\.jpg"):
        read_metadata(folder(image_ids_proxy="new.jpg\n"), proxy=True)


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("image_ids", "a/1.jpg\na/1.jpg\n", "image_ids.txt, line 2: 'a/1.jpg' is there twice"),
        ("class_labels", "a/1.jpg,0\n", "class_labels.txt has no row of 'b, c/2.jpg' (2 of 3 images)"),
        ("class_labels", LABELS + "z.jpg,0\n", "class_labels.txt, line 4: 'z.jpg' is not in image_ids.txt"),
        ("class_labels", "a/1.jpg,-1\n", "class_labels.txt, line 1: '-1' is not a whole number of at least 0"),
        ("class_labels", "a/1.jpg\n", "class_labels.txt, line 1: expected an image and 1 values"),
        ("image_sizes", SIZES + "a/1.jpg,0,5\n", "image_sizes.txt, line 4: '0' is not a whole number of at least 1"),
        ("image_sizes", "a/1.jpg,4,5\n", "image_sizes.txt has no row of 'b, c/2.jpg'"),
        ("localization", "a/1.jpg,5,6,4,8\n", "localization.txt, line 1: the box 5 6 4 8 has its corners"),
        (
            "localization",
            "a/1.jpg,5,6,7,8\na/1.jpg,5,6,7,x\n",
            "localization.txt, line 2: 'x' is not a number of at least",
        ),
        (
            "localization",
            "a/1.jpg,5,6,7,8\na/1.jpg,5,-6,7,9\n",
            "localization.txt, line 2: '-6' is not a number of at le",
        ),
        ("localization", "a/1.jpg,m.png,i.png\na/1.jpg,n.png,j.png\n", "line 2: a second mask of ignored regions"),
    ],
)
def test_errors_name_file_and_line(folder: Callable[..., Path], file: str, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_metadata(folder(**{file: text}))


@pytest.mark.parametrize("file", ["image_ids", "class_labels", "image_sizes", "localization"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(
    folder: Callable[..., Path], file: str, ending: str
) -> None:
    path = folder() / f"{file}.txt"
    expected = read_metadata(path.parent)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", ending.encode()))
    found = read_metadata(path.parent)
    assert list(found.ids) == list(expected.ids)
    assert found.corners_M4.tolist() == expected.corners_M4.tolist()


@pytest.mark.parametrize("row", ["5.0,6.0,7.0,8.0", "5.25,6,7.5,8", "5, 6.5, 7, 8.75", "5,6,7,8e0"])
def test_boxes_with_decimals_are_read(folder: Callable[..., Path], row: str) -> None:
    found = read_metadata(folder(localization=f"a/1.jpg,{row}\na/3.jpg,1,2,3,4\n"))
    assert boxes(found, 0) == [[float(value) for value in row.split(",")]]
    assert boxes(found, 2) == [[1, 2, 3, 4]]
    assert (found.corners_M4.dtype == np.int64) == all(float(value).is_integer() for value in row.split(","))


def test_what_is_missing_is_named_with_where_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.image_ids\.txt does not exist \(found: no such.*clovaai"):
        read_metadata(tmp_path / "nowhere")


@pytest.mark.reference
@pytest.mark.parametrize(
    ("split", "num_images", "num_boxes", "num_masks", "num_classes"),
    [
        ("CUB/train", 5_994, 5_994, 0, 200),
        ("CUB/val", 1_000, 1_000, 0, 200),
        ("CUB/test", 5_794, 5_794, 0, 200),
        ("ILSVRC/val", 10_000, 18_532, 0, 1000),
        ("ILSVRC/test", 50_000, 80_477, 0, 1000),
        ("OpenImages/train", 29_819, 0, 0, 100),
        ("OpenImages/val", 2_500, 0, 3_854, 100),
        ("OpenImages/test", 5_000, 0, 7_632, 100),
    ],
)
def test_published_counts(
    reference_data: Path, split: str, num_images: int, num_boxes: int, num_masks: int, num_classes: int
) -> None:
    """And 20 drawn images, against a plain search through the files' lines."""
    folder = reference_data / "wsol-metadata" / split
    found = read_metadata(folder)
    assert len(found.ids) == len(found.label_N) == len(found.first_row_N1) - 1 == num_images
    assert (len(found.corners_M4), len(found.masks_M)) == (num_boxes, num_masks)
    assert np.unique(found.label_N).tolist() == list(range(num_classes))
    lines = {name: (folder / f"{name}.txt").read_text().split("\n") for name in ("class_labels", "localization")}
    for image in np.random.default_rng(0).choice(num_images, 20, replace=False).tolist():
        start = found.ids[image] + ","
        own = {name: [line[len(start) :] for line in all_ if line.startswith(start)] for name, all_ in lines.items()}
        assert own["class_labels"] == [str(found.label_N[image])]
        if num_masks:
            first, end = found.first_row_N1[image : image + 2]
            ignored = [found.ignored_N[image]] + [""] * int(end - first - 1)
            rows = [f"{mask},{ignore}" for mask, ignore in zip(found.masks_M[first:end], ignored, strict=True)]
            assert own["localization"] == rows
        else:
            assert own["localization"] == [",".join(map(str, box)) for box in boxes(found, image)]
