from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from report_world import prediction
from toy_localization import localization_of

from cam_lightning.contracts import GroundTruth, Proposals
from cam_lightning.functional.overlay import PANELS, SHOWN, Caption, Panel, localization_picture, panels_picture
from cam_lightning.report import gallery
from cam_lightning.report.gallery import build_gallery, embedded
from cam_lightning.report.html import write_report
from cam_lightning.report.run_record import read_predictions
from cam_lightning.run.prediction_table import Prediction
from cam_lightning.sink.overlays import Overlays


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


class _SeveralClasses:
    """Each image once for every class that it shows, as `dataset=pascal_voc` has them; the first could not be read."""

    ids = ("x/dog", "a/cat", "a/dog", "b/dog", "c/cat")
    class_names = ("cat", "dog")
    shown = ((0, 1), (1, 1), (1, 1), (0, 1), (1, 255))

    def __len__(self) -> int:
        return len(self.ids)

    def original(self, index: int) -> np.ndarray:
        return np.full((30, 40, 3), 90, np.uint8)


@pytest.mark.parametrize("scale", ["own", "shared"])
def test_a_class_that_the_image_shows_too_is_not_wrong(make_run: Callable[..., Path], scale: str) -> None:
    """An image of several classes has a row, and a picture, for each of them."""
    source = _SeveralClasses()
    predicted = {1: 0, 2: 0, 3: 0, 4: 1}
    rows = []
    run_dir = make_run([], overlays=False)
    overlays = Overlays(str(run_dir), scale=scale)
    overlays.start("test", source, source.class_names, 0, 1)
    no = torch.zeros(1, 1, dtype=torch.bool)
    for index, best in predicted.items():
        name = source.ids[index].partition("/")[2]
        label = source.class_names.index(name)
        rows.append(
            prediction(source.ids[index], label, name, [best], [source.class_names[best]], [1.0], [0], [0.1], 0.7)
        )
        found = localization_of(
            torch.tensor([[best]]), torch.ones(1, 1), torch.eye(2)[None, None],
            Proposals(torch.zeros(1, 1, 4), (0,), no), torch.zeros(1, 2, 2), torch.zeros(1, 4), no[:, 0],
            torch.tensor([index]),
        )  # fmt: skip
        truth = GroundTruth(
            torch.tensor([label]), torch.tensor([[[0.0, 0, 9, 9]]]), torch.tensor([1]), torch.tensor([[30, 40]]),
            classes_BC=torch.tensor([source.shown[index]], dtype=torch.uint8),
        )  # fmt: skip
        overlays.add(found, truth, {})
    overlays.finish()
    overlays.merge()
    shown = build_gallery(run_dir, "test", rows, 0.5)
    assert [picture.name for picture in shown.pictures] == list(source.ids[1:])
    assert [(picture.verdict, picture.facets["classification"]) for picture in shown.pictures] == [
        ("class right", "right"),
        ("class right, boxes of dog", "right"),
        ("class wrong: dog", "wrong"),
        ("class not known, boxes of cat", "not known"),
    ]
    assert shown.facets[1].choices == ["right", "wrong", "not known"]


@pytest.mark.parametrize("text", ["[1, [0]]", '["a/cat"]', '["a/cat", 3]', "{"])
def test_classes_that_make_no_sense_are_said_to_be_damaged(
    make_run: Callable[..., Path], rows: list[Prediction], text: str
) -> None:
    run_dir = make_run(rows[:1])
    (path,) = (run_dir / "overlays" / "test").glob("*.png")
    told = PngInfo()
    told.add_text(SHOWN, text)
    Image.open(path).save(path, pnginfo=told)
    shown = build_gallery(run_dir, "test", rows, 0.5)
    assert (shown.pictures, [path.name in what for what in shown.damaged]) == ([], [True])


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


def _under_several_maps(path: Path, num_maps: int = 3) -> None:
    box_14, photo_HW3 = np.array([[10.0, 10, 50, 60]], np.float32), np.full((240, 320, 3), 200, np.uint8)
    panels = [Panel(np.eye(7, dtype=np.float32), box_14, Caption(f"map_{n}", f"IoU 0.{n}0")) for n in range(num_maps)]
    picture, places = panels_picture(photo_HW3, box_14, panels, Caption("cat  98%", "class right"))
    told = PngInfo()
    told.add_text(PANELS, json.dumps(places))
    Image.fromarray(picture).save(path, pnginfo=told)


def test_a_photo_under_several_maps_is_shown_panel_by_panel(
    make_run: Callable[..., Path], rows: list[Prediction], results: dict[str, Any]
) -> None:
    """A page lays panels out as it is wide, and says their names in text of its own size."""
    run_dir = make_run(rows, results)
    for path in (run_dir / "overlays" / "test").glob("*.png"):
        _under_several_maps(path)
    shown = build_gallery(run_dir, "test", read_predictions(run_dir, "test"), 0.5)
    for picture in shown.pictures:
        assert [part.name for part in picture.parts] == ["photo", "map_0", "map_1", "map_2"]
        assert {(part.width, part.height) for part in picture.parts} == {(160, 120)}
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert page.count('class="panel"') == 4 * len(rows)
    assert page.count(">map_2</span>") == len(rows)
    assert page.count(">IoU 0.20</span>") == len(rows)
    assert "under each map of the most probable class" in page
    first = base64.b64decode(shown.pictures[0].parts[0].source.partition(",")[2])
    decoded_HW3 = np.asarray(Image.open(io.BytesIO(first)).convert("RGB"))
    assert np.abs(decoded_HW3[60:, 60:].astype(int) - 200).max() < 8, "the photo itself, without a map"


def test_with_one_map_a_picture_is_shown_whole(
    make_run: Callable[..., Path], rows: list[Prediction], results: dict[str, Any]
) -> None:
    run_dir = make_run(rows, results)
    assert all(len(picture.parts) == 1 for picture in build_gallery(run_dir, "test", [], 0.5).pictures)
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert "left the image, right the map" in page
    assert 'class="panel"' not in page


@pytest.mark.parametrize("text", ["[[1]]", "{", "7"])
def test_panels_that_make_no_sense_are_said_to_be_damaged(
    make_run: Callable[..., Path], rows: list[Prediction], text: str
) -> None:
    run_dir = make_run(rows)
    path = min((run_dir / "overlays" / "test").glob("*.png"))
    told = PngInfo()
    told.add_text(PANELS, text)
    Image.open(path).save(path, pnginfo=told)
    shown = build_gallery(run_dir, "test", [], 0.5)
    assert len(shown.pictures) == len(rows) - 1
    assert [path.name in what for what in shown.damaged] == [True]
