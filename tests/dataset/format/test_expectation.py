"""What photos are expected to show: by word, by place, by table."""

from __future__ import annotations

from pathlib import Path

import pytest

from cam_lightning.dataset.format.expectation import Expectations
from cam_lightning.dataset.imagenet import imagenet_names

NAMES = ["tench", "Red Fox", "7", "crane", "crane"]
IMAGENET = list(imagenet_names().values())


@pytest.mark.parametrize(
    ("given", "output"),
    [("tench", 0), ("red fox", 1), ("7", 2), ("1", 1), (0, 0), (7, 2), ("n01440764", 0), ("n02119022", 1)],
)
def test_a_class_is_named_by_word_by_id_or_by_number(given: str | int, output: int) -> None:
    assert Expectations(NAMES, given).of(Path("any/photo.jpg")).output == output


def test_imagenet_s_two_cranes_are_told_apart_by_their_ids() -> None:
    assert Expectations(IMAGENET, "n02012849").of(Path("a")).output == 134
    assert Expectations(IMAGENET, "n03126707").of(Path("a")).output == 517
    with pytest.raises(ValueError, match=r"expected 'crane' is the name of several outputs, \[134, 517\]"):
        Expectations(IMAGENET, "crane")


def test_a_misspelt_class_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"give a name, or 0 to 999; there are zebra, .* \(and 99\d more\)"):
        Expectations(IMAGENET, "zebar")


@pytest.mark.parametrize("given", ["zebra", "5", "-1", "n00000000", ""])
def test_what_is_no_class_is_said(given: str) -> None:
    with pytest.raises(ValueError, match="none of the network's classes: give a name, or 0 to 4"):
        Expectations(NAMES, given)


@pytest.mark.parametrize(
    ("path", "output"),
    [
        ("photos/tench/a.jpg", 0),
        ("photos/n02119022/a.jpg", 1),
        ("photos/n02119022_red_fox.JPEG", 1),
        ("n01440764/n02119022_1.JPEG", 0),
        ("photos/crane/a.jpg", None),
        ("photos/a.jpg", None),
        ("a.jpg", None),
    ],
)
def test_a_photo_s_place_tells_its_class(path: str, output: int | None) -> None:
    found = Expectations(NAMES).of(Path(path))
    assert found.output == output
    assert found.true_N4.shape == (0, 4)


def test_a_table_tells_class_and_boxes(tmp_path: Path) -> None:
    table = tmp_path / "truth.csv"
    table.write_text("image,class,x0,y0,x1,y1\na.jpg,tench,1,2,30,40\na.jpg,tench,5,5,6,6\nsub/b.jpg,red fox,,,,\n")
    expectations = Expectations(NAMES, truth=str(table))
    found = expectations.of(Path("/somewhere/a.jpg"))
    assert found.output == 0
    assert found.true_N4.tolist() == [[1, 2, 30, 40], [5, 5, 6, 6]]
    assert expectations.of(Path("x/sub/b.jpg")).output == 1
    assert expectations.of(Path("x/b.jpg")).output is None
    assert Expectations(NAMES, "7", str(table)).of(Path("a.jpg")).output == 2, "what is said outright counts more"


def test_a_table_that_says_nothing_of_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"truth=.*no\.csv is no file"):
        Expectations(NAMES, truth=str(tmp_path / "no.csv"))
    table = tmp_path / "truth.csv"
    for rows, says in (("a.jpg,zebra,1,2,3,4\n", "'zebra' is none of"), ("a.jpg,tench,3,2,1,4\n", "a.jpg"),
                       ("a.jpg,tench,1,2,3,4\na.jpg,7,1,2,3,5\n", "of several classes")):  # fmt: skip
        table.write_text("image,class,x0,y0,x1,y1\n" + rows)
        with pytest.raises(ValueError, match=says):
            Expectations(NAMES, truth=str(table))


def test_boxes_as_shares_of_the_photo_s_sides_are_refused(tmp_path: Path) -> None:
    """Taken for pixels, they would lie in the corner of every photo, and every map beside them."""
    table = tmp_path / "truth.csv"
    table.write_text("image,class,x0,y0,x1,y1\na.jpg,tench,0.25,0.1,0.75,0.9\nb.jpg,tench,0,0,1,0.5\n")
    with pytest.raises(
        ValueError, match=r"truth=.*: 2 boxes lie within 0\.\.1, such as 0\.25 0\.1 0\.75 0\.9: .* pixels"
    ):
        Expectations(NAMES, truth=str(table))
    table.write_text("image,class,x0,y0,x1,y1\na.jpg,tench,0,0,1,1\nb.jpg,tench,0,0,1,0.5\nc.jpg,tench,3,4,50,60\n")
    assert Expectations(NAMES, truth=str(table)).of(Path("c.jpg")).true_N4.tolist() == [[3, 4, 50, 60]]
