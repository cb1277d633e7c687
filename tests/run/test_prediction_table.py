"""predictions.csv as a file: its columns, its texts, and what is said of a damaged one."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from cam_lightning.run.prediction_table import COLUMNS, Prediction, read_predictions, table_file, write_predictions

ROWS = [
    Prediction(
        id='=HYPERLINK("http://x")',
        label=3,
        label_name='-it\'s, \u0085 "quoted"\nor not',
        width=40,
        height=30,
        truth_boxes=[[0.0, 1.0, 2.5, 3.0]],
        classes=[3, 1],
        names=["=cat", "dog é"],
        class_ids=["n3", "n1"],
        probabilities=[0.75, 0.25],
        boxes=[[0.0, 0.0, 40.0, 30.0], [1.0, 1.0, 2.0, 2.0]],
        ranks=[0, 1],
        ious=[0.30000000000000004, 0.0],
        gt_known_box=[0.0, 0.0, 40.0, 30.0],
        gt_known_iou=1 / 3,
    ),
    Prediction("'plain'", 0, "'=", 1, 1, [], [0], ["'="], ["n0"], [1.0], [[0.0, 0.0, 1.0, 1.0]], [0], [], [0.0] * 4),
]


def test_every_row_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, ROWS)
    assert list(read_predictions(path)) == ROWS
    assert list(tmp_path.iterdir()) == [path]


def test_the_columns_and_cells_are_those_that_every_version_had(tmp_path: Path) -> None:
    """Other programs read them; a row as Python's own csv and json write it."""
    assert COLUMNS == (
        "id", "label", "label_name", "width", "height", "truth_boxes", "classes", "names", "class_ids",
        "probabilities", "boxes", "ranks", "ious", "gt_known_box", "gt_known_iou",
    )  # fmt: skip
    write_predictions(tmp_path / "a.csv", [ROWS[1]._replace(label_name="cat", names=["cat"], gt_known_iou=None)])
    text = (tmp_path / "a.csv").read_bytes().decode()
    assert text.splitlines()[1] == (
        """'plain',0,cat,1,1,[],[0],"[""cat""]","[""n0""]",[1.0],"[[0.0, 0.0, 1.0, 1.0]]","""
        """[0],[],"[0.0, 0.0, 0.0, 0.0]","""
    )
    assert text.endswith("\r\n")


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.csv", ROWS)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert '\'=HYPERLINK("http://x")' in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_a_reader_gets_the_columns_that_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('boxes,id,label\n"[[1, 2, 3, 4]]",x,nonsense\n')
    assert list(read_predictions(tmp_path / "a.csv", ("id", "boxes"))) == [Prediction("x", boxes=[[1, 2, 3, 4]])]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id,label\nx,1\n", "a.csv has no column 'boxes': it is not a run's predictions"),
        ("", "a.csv has no column 'id'"),
        ("id,label,boxes\nx,one,[]\n", "a.csv, row 1: 'label' cannot be 'one'"),
        ("id,label,boxes\nx,1,[]\ny,2,[[1\n", "a.csv, row 2: 'boxes' cannot be '[[1'"),
        ("id,label,boxes\nx,1,7\n", "a.csv, row 1: 'boxes' is a list, not '7'"),
        ("id,label,boxes\nx,1\n", "a.csv, row 1 ends before its column 'boxes'"),
        (f"id,label,boxes\nx,1,{'9' * 140_000}\n", "a.csv is damaged: field larger than field limit"),
    ],
)
def test_a_damaged_table_is_named_with_its_row(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        list(read_predictions(tmp_path / "a.csv", ("id", "label", "boxes")))


def test_bytes_that_are_no_text_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,boxes\n\xff\xfe,[]\n")
    with pytest.raises(ValueError, match=r"a\.csv is damaged: 'utf-8' codec"):
        list(read_predictions(tmp_path / "a.csv", ("id", "boxes")))


def test_each_split_has_its_file(tmp_path: Path) -> None:
    assert [table_file(tmp_path, split).name for split in ("test", "val")] == ["predictions.csv", "predictions_val.csv"]
