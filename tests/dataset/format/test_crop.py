"""Crops: pixels, boxes and masks move together, on images that are not square."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cam_lightning.dataset.format.crop import CroppedSplit, crops_of, read_crops
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage


class OneImage(ImageSplit):
    """Pixel (y, x) is (y, x, 0), so that where it comes from can be read; two boxes, and a mask of its rows."""

    ids = ("only",)
    label_N = np.array([4])

    def read(self, index: int) -> RawImage:
        y, x = np.mgrid[0:20, 0:30]
        boxes = np.array([[2, 3, 10, 8], [20, 15, 30, 20]], np.float32)
        return RawImage(np.stack([y, x, 0 * x], axis=2).astype(np.uint8), boxes, y.astype(np.uint8))


def cropped(*crop: float) -> RawImage:
    return CroppedSplit(OneImage(), np.array([crop], np.float32)).read(0)


def test_pixels_boxes_and_mask_move_together() -> None:
    image_HW3, boxes_N4, mask_HW = cropped(4, 2, 25, 18)
    assert image_HW3.shape == (16, 21, 3)
    assert image_HW3[0, 0].tolist() == [2, 4, 0]
    assert image_HW3[-1, -1].tolist() == [17, 24, 0]
    assert boxes_N4.tolist() == [[0, 1, 6, 6], [16, 13, 21, 16]]
    assert mask_HW is not None
    assert mask_HW[:, 0].tolist() == list(range(2, 18))


def test_edges_are_rounded_outward_and_end_at_the_image() -> None:
    image_HW3, _, _ = cropped(-3, 1.9, 5.1, 99)
    assert image_HW3.shape == (19, 6, 3)
    assert image_HW3[0, 0].tolist() == [1, 0, 0]


def test_a_box_outside_of_the_crop_is_dropped() -> None:
    assert cropped(10, 0, 19, 20).boxes_N4.shape == (0, 4)


@pytest.mark.parametrize("crop", [(30, 0, 40, 9), (0, -9, 9, 0), (5, 5, 5, 9)])
def test_a_crop_without_pixels_is_an_error(crop: tuple[float, ...]) -> None:
    with pytest.raises(OSError, match=r"only is 30×20: its crop .* is outside"):
        cropped(*crop)


def write(path: Path, *rows: tuple[str, str], columns: str = "id,label,boxes") -> Path:
    quoted = [f'"{name}",0,"{boxes}"' for name, boxes in rows]
    path.write_text("\n".join([columns, *quoted]) + "\n", encoding="utf-8")
    return path


def test_crops_of_earlier_runs(tmp_path: Path) -> None:
    """The best guess of each image, over several files."""
    first = write(tmp_path / "a.csv", ("it's a = b, c.jpg", json.dumps([[1, 2, 3.5, 4], [0, 0, 1, 1]])))
    second = write(tmp_path / "b.csv", ("only", "[[4, 2, 25, 18]]"))
    crops = read_crops([first, second])
    assert crops == {"it's a = b, c.jpg": [1, 2, 3.5, 4], "only": [4, 2, 25, 18]}
    assert crops_of(OneImage(), crops, "a.csv").tolist() == [[4, 2, 25, 18]]
    with pytest.raises(ValueError, match=r"a\.csv has no box of 'only' \(1 of 1 images\)"):
        crops_of(OneImage(), {}, "a.csv")


@pytest.mark.parametrize(
    ("boxes", "complaint"),
    [
        ("[]", "a.csv, row 1: `boxes` is not a list of boxes: []"),
        ("1 2 3 4", "a.csv, row 1: 'boxes' cannot be '1 2 3 4'"),
        ("[[1, 2, 3]]", "a.csv, row 1: [1.0, 2.0, 3.0] is not a box"),
        ("[[3, 2, 3, 4]]", "a.csv, row 1: [3.0, 2.0, 3.0, 4.0] is not a box"),
    ],
)
def test_what_is_no_box_is_said(tmp_path: Path, boxes: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_crops([write(tmp_path / "a.csv", ("x", boxes))])


def test_wrong_columns_and_images_twice(tmp_path: Path) -> None:
    row = ("x", "[[0, 0, 1, 1]]")
    with pytest.raises(ValueError, match=r"a\.csv has no column 'boxes': it is not a run's predictions"):
        read_crops([write(tmp_path / "a.csv", row, columns="id,label,box")])
    with pytest.raises(ValueError, match=r"a\.csv, row 2: 'x' is there twice"):
        read_crops([write(tmp_path / "a.csv", row, row)])
