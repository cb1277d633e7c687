"""Pictures: the right pixels change, by the right amount, and the others do not."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest

from cam_lightning.functional.map_colours import COLOUR_MAPS
from cam_lightning.functional.overlay import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    Caption,
    at_picture_size,
    contact_sheet,
    draw_boxes,
    heat_map,
    localization_picture,
)

CAPTION = Caption("zebra  97%", "IoU 0.71 (hit), class right")
CAPTION_HEIGHT, GAP = 46, 4


@pytest.fixture
def photo() -> np.ndarray:
    """Non-square noise: 40 high, 90 wide."""
    return np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)


def brightest(colour_map: str) -> np.ndarray:
    """RGB of the value 1."""
    return cv2.applyColorMap(np.full((1, 1), 255, np.uint8), COLOUR_MAPS[colour_map])[0, 0, ::-1]


def changed_box(before: np.ndarray, after: np.ndarray) -> list[int]:
    """The half-open box of the pixels that differ."""
    ys, xs = np.nonzero((before != after).any(-1))
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.mark.parametrize(
    "map_hw",
    [
        np.zeros((2, 3)),
        np.array([[-1.0, -2, -3]]),
        np.full((2, 3), np.nan),
        np.array([[np.inf, 1, 0]]),
        np.full((2, 3), 0.1),
    ],
)
def test_a_map_that_names_no_region_leaves_the_image(photo: np.ndarray, map_hw: np.ndarray) -> None:
    picture = heat_map(photo, map_hw)
    assert np.array_equal(picture, photo)
    assert picture is not photo


@pytest.mark.parametrize("colour_map", COLOUR_MAPS)
def test_heat_lies_where_the_map_is_high(photo: np.ndarray, colour_map: str) -> None:
    """Only the last of four columns is hot: its far end has the brightest colour, and x is not y."""
    before = photo.copy()
    picture = heat_map(photo, np.array([[-5.0, -1, 0, 8]] * 2), colour_map)
    assert picture.dtype == np.uint8
    assert picture.shape == photo.shape
    opacity = 0.5 if colour_map == "jet" else 0.75
    expected = np.round(photo[:, 85] * (1 - opacity) + brightest(colour_map) * opacity)
    assert np.abs(picture[:, 85] - expected).max() <= 1
    if colour_map == "jet":
        assert not np.array_equal(picture[:, :40], photo[:, :40]), "jet is laid on evenly"
    else:
        assert np.array_equal(picture[:, :40], photo[:, :40])
    assert np.array_equal(photo, before)


def test_colours_follow_the_value_alone(photo: np.ndarray) -> None:
    """Twice the map is the same picture."""
    map_hw = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    assert np.array_equal(heat_map(photo, map_hw), heat_map(photo, 2 * map_hw))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
def test_extreme_values_are_drawn_without_a_warning(photo: np.ndarray, value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert heat_map(photo, np.array([[value, 1.0], [0.0, 0.5]])).shape == photo.shape


def test_an_unknown_colour_map_is_answered_with_the_choices(photo: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"inferno, viridis, turbo, jet, diverging; got 'hot'"):
        heat_map(photo, np.ones((2, 2)), "hot")


@pytest.mark.parametrize("box", [[10, 5, 60, 30], [0, 0, 90, 40], [30, 2, 80, 39]])
def test_outlines_cover_exactly_their_half_open_box(box: list[int]) -> None:
    grey = np.full((40, 90, 3), 100, np.uint8)
    picture = draw_boxes(grey, np.array([box]), PREDICTION_COLOUR)
    x0, y0, x1, y1 = box
    assert changed_box(grey, picture) == box
    middle = (slice(y0 + 5, y1 - 5), slice(x0 + 5, x1 - 5))
    assert np.array_equal(picture[middle], grey[middle])
    row = [tuple(pixel) for pixel in picture[(y0 + y1) // 2, x0 : x0 + 4].tolist()]
    assert row == [(0, 0, 0), PREDICTION_COLOUR, PREDICTION_COLOUR, (0, 0, 0)], "a halo on either side"
    assert (grey == 100).all()


@pytest.mark.parametrize("box", [[3, 3, 4, 4], [0, 0, 1, 40], [89, 39, 90, 40], [5, 5, 5, 5]])
def test_boxes_of_a_pixel_or_less_can_be_drawn(photo: np.ndarray, box: list[int]) -> None:
    assert draw_boxes(photo, np.array([box]), TRUTH_COLOUR).shape == photo.shape


def test_no_box_changes_nothing(photo: np.ndarray) -> None:
    assert np.array_equal(draw_boxes(photo, np.zeros((0, 4)), TRUTH_COLOUR), photo)


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (64, 64), (1200, 700), (37, 500), (1, 1)])
def test_both_halves_keep_the_original_proportions(size: tuple[int, int]) -> None:
    """Within the pixel that rounding costs; neither larger than 480 a side."""
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    box = np.array([[0, 0, width, height]])
    picture = localization_picture(image, np.eye(3), box, box[:0], CAPTION)
    half_width, half_height = (picture.shape[1] - GAP) / 2, picture.shape[0] - CAPTION_HEIGHT
    assert half_width.is_integer()
    assert max(half_width, half_height) <= 480
    assert abs(half_width * height - half_height * width) <= max(height, width)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("size", [(40, 90), (300, 100), (1000, 50), (700, 1201), (3, 2000)])
def test_an_image_at_the_picture_s_size_stays_as_it_is(size: tuple[int, int]) -> None:
    """So a large photo can be reduced once, and drawn later."""
    image_HW3 = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    once = at_picture_size(image_HW3)
    assert max(once.shape[:2]) <= 480
    assert once.shape[0] / once.shape[1] == pytest.approx(size[0] / size[1], rel=0.02) or min(once.shape[:2]) < 30
    assert (at_picture_size(once) == once).all()


def test_both_frames_meet_in_the_enlarged_picture() -> None:
    """40×90 is enlarged 16/3 times: a true box on the left, both on the right, at the enlarged places."""
    image = np.full((40, 90, 3), 100, np.uint8)
    truth, predicted = np.array([[9, 6, 45, 30]]), np.array([[54, 12, 81, 36]])
    picture = localization_picture(image, np.zeros((2, 3)), predicted, truth, CAPTION)
    assert picture.shape == (213 + CAPTION_HEIGHT, 480 + GAP + 480, 3)
    left, right = picture[:213, :480], picture[:213, 484:]
    grey = np.full_like(left, 100)
    fx, fy = 480 / 90, 213 / 40
    expected = [[9 * fx, 6 * fy, 45 * fx, 30 * fy], [54 * fx, 12 * fy, 81 * fx, 36 * fy]]
    assert np.abs(np.array(changed_box(grey, left)) - expected[0]).max() <= 1
    assert np.abs(np.array(changed_box(left, right)) - expected[1]).max() <= 1
    assert (left == PREDICTION_COLOUR).all(-1).sum() == 0


def test_a_long_caption_is_cut_and_not_drawn_over_the_edge() -> None:
    image, boxes = np.zeros((64, 64, 3), np.uint8), np.zeros((0, 4))
    long = Caption("a very long class name " * 20, "x")
    with_long = localization_picture(image, np.eye(2), boxes, boxes, long)
    short = localization_picture(image, np.eye(2), boxes, boxes, Caption("a", "x"))
    assert with_long.shape == short.shape
    edge = np.s_[-CAPTION_HEIGHT:, -6:]
    assert np.array_equal(with_long[edge], short[edge])
    assert not np.array_equal(with_long, short)


def test_a_contact_sheet_fills_rows() -> None:
    wide, high, small = (
        np.full((*size, 3), grey, np.uint8) for size, grey in (((4, 10), 90), ((9, 3), 120), ((2, 5), 150))
    )
    sheet = contact_sheet([wide, high, small, wide], width=20, margin=1)
    # 1 + 10 + 1 + 3 + 1 leaves no room for 5 + 1 more; the first row is as high as its highest.
    assert sheet.shape == (1 + 9 + 1 + 4 + 1, 1 + 5 + 1 + 10 + 1, 3)
    for picture, top, left in ((wide, 1, 1), (high, 1, 12), (small, 11, 1), (wide, 11, 7)):
        assert np.array_equal(sheet[top : top + picture.shape[0], left : left + picture.shape[1]], picture)
    paper = sheet[0, 0]
    assert (sheet != paper).any(-1).sum() == 2 * wide[..., 0].size + high[..., 0].size + small[..., 0].size


def test_a_picture_wider_than_the_sheet_widens_it() -> None:
    pictures = [np.full((2, width, 3), 99, np.uint8) for width in (30, 4)]
    assert contact_sheet(pictures, width=20, margin=1).shape == (7, 32, 3)


def test_a_sheet_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])
