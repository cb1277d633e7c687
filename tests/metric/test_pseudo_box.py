"""Boxes that nobody drew: a centred one, and those of another run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cam_lightning.metric.pseudo_box import pseudo_boxes
from cam_lightning.run.prediction_table import Prediction, write_predictions

SIZES = torch.tensor([[30, 50], [40, 20]])


def test_the_centre_prior() -> None:
    boxes = pseudo_boxes(0.5)
    assert boxes is not None
    boxes.begin(["any"])
    expected = [[12.5, 7.5, 37.5, 22.5], [5.0, 10.0, 15.0, 30.0]]
    assert boxes(torch.tensor([7, 8]), SIZES).tolist() == expected
    assert pseudo_boxes(None) is None


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [
        Prediction("b", width=20, height=40, boxes=[[1, 2, 3, 4], [0, 0, 20, 40]], gt_known_box=[9, 9, 10, 10]),
        Prediction("a", width=50, height=30, boxes=[[5, 6, 7.5, 8]]),
        Prediction("c", width=9, height=9),
    ]
    write_predictions(tmp_path / "predictions_val.csv", rows)
    return tmp_path


def test_the_best_guess_of_another_run_by_the_image_s_id(run: Path) -> None:
    for where in (run, run / "predictions_val.csv"):
        boxes = pseudo_boxes(str(where))
        assert boxes is not None
        boxes.begin(["a", "b"])
        assert boxes(torch.tensor([0, 1]), SIZES).tolist() == [[5, 6, 7.5, 8], [1, 2, 3, 4]]
        assert boxes(torch.tensor([1]), SIZES[1:]).tolist() == [[1, 2, 3, 4]]


def test_what_cannot_be_is_said(run: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no predictions_val.csv.*splits=\[val,test\]"):
        pseudo_boxes(str(run.parent))
    boxes = pseudo_boxes(str(run))
    assert boxes is not None
    with pytest.raises(ValueError, match=r"no box of c \(2 of 3 images are missing\)"):
        boxes.begin(["c", "a", "d"])
    boxes.begin(["a", "b"])
    with pytest.raises(ValueError, match="box of a in a file of 50×30 pixels, and the file here has 20×40"):
        boxes(torch.tensor([0]), SIZES[1:])
    for share in (0.0, 1.5, True, False):
        with pytest.raises(ValueError, match="label_free is a share of each side"):
            pseudo_boxes(share)
