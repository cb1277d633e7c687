from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_world import prediction

from cam_lightning.functional.overlay import Caption, localization_picture
from cam_lightning.report import gallery
from cam_lightning.report.gallery import build_gallery, embedded
from cam_lightning.report.html import write_report
from cam_lightning.report.run_record import read_predictions
from cam_lightning.run.prediction_table import Prediction


def _noise(path: Path, width: int = 964, height: int = 526) -> Path:
    """Noise compresses worse than any photo."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_picture_is_embedded_without_its_caption(tmp_path: Path) -> None:
    image_HW3 = np.full((240, 300, 3), 200, np.uint8)
    box_14 = np.array([[10.0, 10, 50, 60]], np.float32)
    caption = Caption("cat 98%", "IoU 0.50")
    picture = localization_picture(image_HW3, np.ones((7, 7), np.float32), box_14, box_14, caption)
    Image.fromarray(picture).save(tmp_path / "a.png")
    small, webp, encoding = embedded(tmp_path / "a.png", 100_000)
    assert (small.size, encoding) == ((604, 240), 0)
    decoded = np.asarray(Image.open(io.BytesIO(webp)).convert("RGB"))
    error = np.abs(decoded.astype(int) - picture[:240].astype(int)).mean()
    assert error < 4


@pytest.mark.parametrize("limit", [12_000, 24_000, 60_000])
def test_a_picture_fits_its_share_of_the_page(tmp_path: Path, limit: int) -> None:
    small, webp, encoding = embedded(_noise(tmp_path / "a.png"), limit)
    assert len(webp) <= limit
    assert small.width / small.height == pytest.approx(964 / 480, rel=0.01)
    _, finer, _ = embedded(tmp_path / "a.png", 10**9, encoding - 1)
    assert len(finer) > limit


def test_pictures_beyond_the_most_are_counted(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, rows: list[Prediction]
) -> None:
    monkeypatch.setattr(gallery, "MOST_PICTURES", 3)
    run_dir = make_run(rows)
    shown = build_gallery(run_dir, "test", read_predictions(run_dir, "test"), 0.5)
    assert [picture.name for picture in shown.pictures] == ["test/a", "test/b", "test/c"]
    assert shown.num_left_out == 2


def test_facets_say_what_the_predictions_say(
    make_run: Callable[..., Path], rows: list[Prediction], hostile: str
) -> None:
    run_dir = make_run(rows)
    shown = build_gallery(run_dir, "test", read_predictions(run_dir, "test"), 0.5)
    facets = [tuple(picture.facets.values()) for picture in shown.pictures]
    assert facets == [
        ("hit", "right", "75 % and more", "cat"),
        ("miss", "right", "50 to 75 %", "cat"),
        ("hit", "wrong", "50 to 75 %", "cat"),
        ("hit", "right", "75 % and more", hostile),
        ("miss", "wrong", "below 25 %", hostile),
    ]
    assert [facet.choices for facet in shown.facets][:2] == [["hit", "miss"], ["right", "wrong"]]
    assert shown.facets[3].choices == ["cat", hostile]


def test_an_image_without_a_known_box_is_neither_hit_nor_miss(
    make_run: Callable[..., Path], rows: list[Prediction]
) -> None:
    run_dir = make_run(rows[:1])
    unknown = prediction("test/a", 0, "cat", [0], ["cat"], [1.0], [0], [], None)
    shown = build_gallery(run_dir, "test", [unknown], 0.5)
    assert shown.pictures[0].facets["box"] == "no box known"
    assert shown.facets[0].choices == ["hit", "miss", "no box known"]


def test_a_probability_that_was_not_finite_is_said_to_be_so(
    make_run: Callable[..., Path], rows: list[Prediction], results: dict[str, Any]
) -> None:
    """Of a network that overflowed while it was trained: its NaN is null in the file."""
    lost = rows[0]._replace(probabilities=[math.nan, math.nan])
    run_dir = make_run([lost, *rows[1:]], results)
    read = read_predictions(run_dir, "test")
    assert read[0].probabilities == [None, None]
    shown = build_gallery(run_dir, "test", read, 0.5)
    assert [picture.facets["confidence"] for picture in shown.pictures][:2] == ["not finite", "50 to 75 %"]
    assert shown.facets[2].choices[-1] == "not finite"
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert 'data-probability=""' in page
    assert 'data-probability="0.6"' in page
    assert page.count(">not finite</") >= 3, "on the card, and twice in the enlarged one"


def test_pictures_without_predictions_cannot_be_filtered(make_run: Callable[..., Path], rows: list[Prediction]) -> None:
    shown = build_gallery(make_run(rows), "test", [], 0.5)
    assert shown.pictures[0].name == "000000_a"
    assert shown.facets == []
