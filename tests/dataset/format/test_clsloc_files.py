"""The challenge's files: what is read, and what is said of a file that is not right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cam_lightning.dataset.format.clsloc_files import (
    image_number,
    read_blacklist,
    read_boxes,
    read_class_ids,
    read_labels,
    read_predictions,
    write_predictions,
)

HEADER = "image,label,xmin,ymin,xmax,ymax\n"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "it's = a file.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_predictions(file: Callable[[str], Path]) -> None:
    """Fewer than five guesses are filled up, more are ignored; decimals and commas are numbers too."""
    six = " ".join(f"{n} 1 2 3 4" for n in range(1, 7))
    guesses = read_predictions(file(f"7 0 0 9 9.5\n{six}\n3,1,1,2,2,4,5,5,6,6\n\n"))
    assert guesses.label_NG.tolist() == [[7, 0, 0, 0, 0], [1, 2, 3, 4, 5], [3, 4, 0, 0, 0]]
    assert guesses.box_NG4[0, 0].tolist() == [0, 0, 9, 9.5]
    assert guesses.box_NG4[2, :2].tolist() == [[1, 1, 2, 2], [5, 5, 6, 6]]
    assert guesses.box_NG4[1, 4].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 0 9 9\n1 0 0 9\n", "file.txt, line 2: a row is .* got 4 values"),
        ("1 0 0 9 9\n\n1 0 0 9 9\n", "line 2: .* got 0 values"),
        ("", "line 1: .* got 0 values"),
        ("1 0 0 9 nine\n", "line 1: 'nine' is not a number"),
        ("1 0 0 9 nan\n", "line 1: 'nan' is not a number"),
        ("1.5 0 0 9 9\n", "line 1: '1.5' is not a whole number of at least 0"),
        ("-1 0 0 9 9\n", "line 1: '-1' is not a whole number of at least 0"),
    ],
)
def test_malformed_predictions_name_file_and_line(file: Callable[[str], Path], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_predictions(file(text))


def test_labels_and_blacklist(file: Callable[[str], Path]) -> None:
    assert read_labels(file("490\n361\r\n171")).tolist() == [490, 361, 171]
    with pytest.raises(ValueError, match="line 2: '0' is not a whole number of at least 1"):
        read_labels(file("490\n0\n"))
    assert read_blacklist(file("3\n1\n"), 4).tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match="line 1: there is no image 5; the labels are those of 4"):
        read_blacklist(file("5\n"), 4)
    with pytest.raises(ValueError, match="line 2: image 3 is listed twice"):
        read_blacklist(file("3\n3\n"), 4)


def test_boxes_of_a_table(file: Callable[[str], Path]) -> None:
    boxes = read_boxes(file(f"{HEADER}2,7,0,1,2,3\n1,8,4,5,6.5,7\n"), np.array([8, 7]))
    assert boxes.image_M.tolist() == [1, 0]
    assert boxes.label_M.tolist() == [7, 8]
    assert boxes.box_M4.tolist() == [[0, 1, 2, 3], [4, 5, 6.5, 7]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,7,0,1,2,3\n", "line 1: the columns must be image,label,xmin,ymin,xmax,ymax"),
        (f"{HEADER}1,7,0,1,2\n", "line 2: .* got 5 values"),
        (f"{HEADER}1,7,0,1,2,x\n", "line 2: 'x' is not a number"),
        (f"{HEADER}1,7,5,1,2,3\n", "line 2: the box 5 1 2 3 has its corners the wrong way round"),
        (f"{HEADER}1,7,0,1,2,3\n3,7,0,1,2,3\n", "line 3: there is no image 3; the labels are those of 2"),
        (f"{HEADER}1,7,0,1,2,{'9' * 140_000}\n", "line 2: is not a CSV's: field larger than"),
        (f"{HEADER}0,7,0,1,2,3\n", "line 2: '0' is not a whole number of at least 1"),
    ],
)
def test_malformed_tables_name_file_and_line(file: Callable[[str], Path], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_boxes(file(text), np.array([7, 7]))


def xml(folder: Path, image: int, *objects: tuple[str, int, int, int, int]) -> None:
    things = "".join(
        f"<object><name>{name}</name><pose>x</pose><bndbox><ymin>{y0}</ymin><xmin>{x0}</xmin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    folder.mkdir(exist_ok=True)
    (folder / f"ILSVRC2012_val_{image:08}.xml").write_text(f"<annotation><folder>val</folder>{things}</annotation>")


def test_boxes_of_xml_files_get_their_labels_from_the_images(tmp_path: Path) -> None:
    """n2 is in both images of label 5, n1 in one of them; that of label 9 has an object of no image's class too."""
    folder = tmp_path / "val"
    xml(folder, 1, ("n2", 0, 1, 2, 3), ("n1", 4, 5, 6, 7))
    xml(folder, 2, ("n1", 1, 1, 2, 2))
    xml(folder, 3, ("n2", 8, 8, 9, 9))
    boxes = read_boxes(folder, np.array([5, 9, 5]))
    assert boxes.image_M.tolist() == [0, 0, 1, 2]
    assert boxes.label_M.tolist() == [5, 9, 9, 5]
    assert boxes.box_M4.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [1, 1, 2, 2], [8, 8, 9, 9]]


def test_xml_files_that_do_not_say_the_labels_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "val"
    xml(folder, 1, ("n1", 0, 0, 2, 2), ("n2", 0, 0, 2, 2))
    xml(folder, 2, ("n3", 0, 0, 2, 2))
    with pytest.raises(ValueError, match=r"which name class 5 has: in all its images are \['n1', 'n2'\]"):
        read_boxes(folder, np.array([5, 9]))
    with pytest.raises(ValueError, match=r"which name class 5 has: in all its images are \[\]"):  # labels of others
        read_boxes(folder, np.array([5, 5]))
    xml(folder, 1, ("n3", 0, 0, 2, 2))
    with pytest.raises(ValueError, match="which name class 9 has"):
        read_boxes(folder, np.array([5, 9]))
    with pytest.raises(ValueError, match="one XML file for each of the 3 labels, has 2; there is none for image 3"):
        read_boxes(folder, np.array([5, 9, 7]))
    with pytest.raises(ValueError, match="one XML file for each of the 1 labels, has 2"):
        read_boxes(folder, np.array([5]))
    (folder / "ILSVRC2012_val_00000002.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"00000002\.xml is not XML"):
        read_boxes(folder, np.array([5, 9]))


def test_class_ids(file: Callable[[str], Path]) -> None:
    assert read_class_ids(file("n02119789 1 kit_fox\nn02100735 2 English_setter\n")) == {
        "n02119789": 1,
        "n02100735": 2,
    }
    for text, message in (
        ("n1 1\nn1 2", "line 2: class n1 or id 2 is there twice"),
        ("n1 1\nn2 1", "line 2: class n2 or id 1 is there twice"),
        ("n1 fox", "line 1: 'fox' is not a number"),
        ("n1", "line 1: '' is not a number"),
    ):
        with pytest.raises(ValueError, match=message):
            read_class_ids(file(text))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Half-open boxes become inclusive corners: a box of one pixel has equal corners."""
    path = tmp_path / "submission.txt"
    boxes = [[[3.0, 4.0, 4.0, 5.0], [0.0, 0.0, 10.25, 1333.333]], [[1.0, 2.0, 30.0, 40.0]] * 7]
    write_predictions(path, [[7, 8], [1, 2, 3, 4, 5, 6, 7]], boxes)
    assert path.read_text().splitlines()[0] == "7 3 4 3 4 8 0 0 9.25 1332.33"
    guesses = read_predictions(path)
    assert guesses.label_NG.tolist() == [[7, 8, 0, 0, 0], [1, 2, 3, 4, 5]]
    assert guesses.box_NG4[1, 4].tolist() == [1, 2, 29, 39]
    with pytest.raises(ValueError, match="image 1 has 1 labels and 2 boxes"):
        write_predictions(path, [[7]], boxes[:1])
    with pytest.raises(ValueError, match="image 1 has 0 labels and 0 boxes"):
        write_predictions(path, [[]], [[]])


def test_the_number_that_ends_a_name() -> None:
    assert image_number("val/ILSVRC2012_val_00000017.JPEG") == 17
    assert image_number("n01440764_5") == 5
    assert image_number("12 photos/cat.jpg") is None
