"""Overlays of a run with several maps: one photo under all of them, each by its name and with its own box."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_localization import localization_of

from cam_lightning.contracts import GroundTruth, Localization, Proposals
from cam_lightning.functional.overlay import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    Caption,
    Panel,
    Place,
    localization_picture,
    panels_picture,
)
from cam_lightning.sink.overlays import Overlays

GREY = 90
TRUTH = (0.0, 0.0, 150.0, 120.0)
BOXES = {"": (0.0, 0.0, 150.0, 120.0), "grad_cam": (150.0, 120.0, 300.0, 240.0), "layer_cam": (0.0, 0.0, 150.0, 90.0)}
CELLS = {"": (0, 0), "grad_cam": (1, 1), "layer_cam": (0, 0)}
"""Where each map is high."""


class Grey:
    """Photos of 300 × 240, which panels show at half of that."""

    ids = ("a", "b")
    class_names = ("x",)

    def __len__(self) -> int:
        return 2

    def original(self, index: int) -> np.ndarray:
        return np.full((240, 300, 3), GREY, np.uint8)


def localization(arm: str, index: int, high: float = 1.0) -> Localization:
    map_hw = torch.zeros(2, 2)
    map_hw[CELLS[arm]] = high
    box = torch.tensor([[BOXES[arm]]])
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    return localization_of(
        torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1), map_hw[None, None],
        Proposals(box, (0,), nothing), map_hw[None], box[0], nothing[0], torch.tensor([index]),
    )  # fmt: skip


def truth() -> GroundTruth:
    return GroundTruth(torch.zeros(1).long(), torch.tensor([[TRUTH]]), torch.tensor([1]), torch.tensor([[240, 300]]))


def written(run_dir: Path, arms: tuple[str, ...], heights: Any = ((1.0, 1.0),), **options: Any) -> list[Path]:
    """One picture for each pair of heights, of the run's own map and of all further ones; each by a rank of its own."""
    ranks = [
        Overlays(str(run_dir), count=2, own="cam_lightning.cam.cam.ClassActivationMap", **options) for _ in heights
    ]
    for number, (sink, (own, further)) in enumerate(zip(ranks, heights, strict=True)):
        sink.start("test", Grey(), ["x"], number, len(ranks))
        others = {arm: localization(arm, number, further) for arm in arms}
        sink.add(localization("", number, own), truth(), others)
    for sink in ranks:
        sink.finish()
    ranks[0].merge()
    return sorted((run_dir / "overlays" / "test").glob("*.png"))


def panels_of(path: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Name → (pixels, what is said of it)."""
    with Image.open(path) as file:
        pixels = np.asarray(file)
        places = [Place(*place) for place in json.loads(file.info["panels"])]
    return {p.name: (pixels[p.top : p.bottom, p.left : p.right], p.detail) for p in places}


def colour_share(pixels: np.ndarray, colour: tuple[int, int, int], rows: slice, columns: slice) -> float:
    return float((pixels[rows, columns] == colour).all(axis=-1).mean())


def test_a_photo_is_shown_under_each_map_with_that_maps_box(tmp_path: Path) -> None:
    (path,) = written(tmp_path, ("grad_cam", "layer_cam"))
    panels = panels_of(path)
    assert {name: detail for name, (_, detail) in panels.items()} == {
        "photo": "",
        "cam": "IoU 1.00 (hit)",
        "grad_cam": "IoU 0.00 (miss)",
        "layer_cam": "IoU 0.75 (hit)",
    }
    assert {pixels.shape for pixels, _ in panels.values()} == {(120, 150, 3)}
    upper, lower, left, right = slice(0, 60), slice(60, 120), slice(0, 75), slice(75, 150)
    photo, grad_cam, layer_cam = (panels[name][0] for name in ("photo", "grad_cam", "layer_cam"))
    assert colour_share(photo, TRUTH_COLOUR, upper, left) > 0.05
    assert all(colour_share(photo, PREDICTION_COLOUR, y, x) == 0 for y in (upper, lower) for x in (left, right))
    assert photo[30, 35].tolist() == photo[100, 120].tolist() == [GREY] * 3
    assert colour_share(grad_cam, PREDICTION_COLOUR, lower, right) > 0.05
    assert colour_share(grad_cam, PREDICTION_COLOUR, upper, left) == 0
    assert colour_share(grad_cam, TRUTH_COLOUR, upper, left) > 0.05
    assert colour_share(layer_cam, PREDICTION_COLOUR, slice(40, 46), left) > 0.1, "its lower edge is at 90 of 240"
    strongest = {name: np.abs(pixels.astype(int) - GREY).sum(-1) for name, (pixels, _) in panels.items()}
    assert strongest["grad_cam"][95, 110] > strongest["grad_cam"][25, 40]
    assert strongest["layer_cam"][25, 40] > strongest["layer_cam"][95, 110]


@pytest.mark.parametrize(("num_maps", "rows_and_columns"), [(2, (1, 3)), (4, (1, 5)), (5, (2, 3)), (14, (3, 5))])
def test_panels_wrap_into_rows_of_one_length(num_maps: int, rows_and_columns: tuple[int, int]) -> None:
    nothing_04 = np.zeros((0, 4), np.float32)
    panels = [Panel(np.eye(2, dtype=np.float32), nothing_04, Caption(str(n), "")) for n in range(num_maps)]
    picture, places = panels_picture(Grey().original(0), nothing_04, panels, Caption("x", ""))
    assert (len({place.top for place in places}), len({place.left for place in places})) == rows_and_columns
    assert [place.name for place in places] == ["photo", *map(str, range(num_maps))]
    assert picture.shape[1] >= max(place.right for place in places)
    assert picture.shape[0] > max(place.bottom for place in places)
    for place, after in pairwise(places):
        assert after.left >= place.right or after.top > place.bottom, "none lies on another"


def test_a_shared_scale_is_that_of_each_kind_of_map(tmp_path: Path) -> None:
    """Units differ from map to map: of heights 1 and 4, and 100 and 50, the greatest alone is the brightest."""
    heights = ((1.0, 100.0), (4.0, 50.0))
    first, second = map(panels_of, written(tmp_path, ("grad_cam",), heights, scale="shared"))
    own = panels_of(written(tmp_path / "own", ("grad_cam",))[0])
    rows, columns = slice(110, 114), slice(130, 140)
    strength = [np.abs(p["grad_cam"][0][rows, columns].astype(int) - GREY).sum() for p in (first, second)]
    assert strength[0] > strength[1] > 0
    corner = slice(10, 14), slice(10, 20)
    assert not np.array_equal(first["cam"][0][corner], second["cam"][0][corner])
    assert np.array_equal(second["cam"][0][corner], own["cam"][0][corner])
    assert second["cam"][0].shape[0] > own["cam"][0].shape[0], "a bar says what the colours stand for"


def test_with_one_map_the_picture_is_as_it_was(tmp_path: Path) -> None:
    (path,) = written(tmp_path, ())
    sink = Overlays(str(tmp_path / "other"))
    sink.class_names = ["x"]
    found = localization("", 0)
    box_14 = np.array([TRUTH], np.float32)
    caption = sink._caption(found, truth(), 0, 1.0)
    assert caption == ("x  100%", "IoU 1.00 (hit), class right")
    expected = localization_picture(Grey().original(0), found.map_BThw[0, 0].numpy(), box_14, box_14, caption)
    with Image.open(path) as file:
        assert np.array_equal(np.asarray(file), expected)
        assert not file.info


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("cam_lightning.cam.hires_cam.HiResCam", "hires_cam"),
        ("my_package.maps.MyMap", "MyMap"),
        ("", "this run"),
    ],
)
def test_the_own_map_is_called_as_its_configuration_is(tmp_path: Path, target: str, name: str) -> None:
    assert Overlays(str(tmp_path), own=target).own == name
