"""Pictures of a localization: the heat map over the image, boxes burnt in, and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cam_lightning.functional.map_colours import (
    CHOICES,
    DIVERGING,
    INK,
    MUTED,
    PAPER,
    colour_bar,
    coloured,
    largest_value,
    shown_values,
)
from cam_lightning.functional.post_processing import check_option

TRUTH_COLOUR = (255, 255, 255)
PREDICTION_COLOUR = (0, 229, 255)
EXPECTED_COLOUR = (255, 167, 38)
PNG_LEVEL = 2
"""For the files: a quarter of the time that Pillow's own level takes, a tenth more bytes."""
PANELS_IN_A_ROW = 5
PANELS = "panels"
"""The text of a PNG that says where its panels lie: JSON, a `Place` each."""
SHOWN = "shown"
"""The text of a PNG of an image of several classes: JSON, the image's id and its row of `GroundTruth.classes_BC`."""
_LEAST_PANEL_WIDTH = 200
_HALO = (0, 0, 0)


class Caption(NamedTuple):
    """What stands below a picture: the first line in full ink, the second muted."""

    headline: str
    detail: str


def class_verdict(predicted: int, label: int, name: str, shown_C: Sequence[int] | None = None) -> str:
    """What a caption says of the predicted class, where the picture is about the class `label`, called `name`.

    `shown_C` is, of an image of several classes, its row of `GroundTruth.classes_BC`: there a predicted class that the
    image shows is right, and the white boxes are those of another.
    """
    if predicted == label:
        return "class right"
    if shown_C is None or shown_C[predicted] == 0:
        return f"class wrong: {name}"
    return f"class {'right' if shown_C[predicted] == 1 else 'not known'}, boxes of {name}"


def heat_map(
    image_HW3: np.ndarray, map_hw: np.ndarray, colour_map: str = "inferno", limit: float | None = None
) -> np.ndarray:
    """The map over the image: uint8 RGB (H, W, 3).

    The map is upsampled bilinearly, and `limit`, or where it is None the maximum, is the brightest colour; negative
    values count as 0, but for the `diverging` colours, which show them. Opacity grows with the value, so that where the
    map is low the image shows; `jet` is laid on evenly, as in the paper's figures. A map that names no region leaves
    the image as it is.
    """
    check_option("colour_map", colour_map, CHOICES)
    value_HW = shown_values(map_hw, (image_HW3.shape[0], image_HW3.shape[1]), colour_map, limit)
    return coloured(image_HW3, value_HW, colour_map)


def draw_boxes(image_HW3: np.ndarray, boxes_N4: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Outlines of half-open boxes in the image's own pixels, with a dark halo that shows them anywhere."""
    picture = Image.fromarray(image_HW3)
    draw = ImageDraw.Draw(picture)
    width = max(2, round(min(image_HW3.shape[:2]) / 120))
    for x0, y0, x1, y1 in np.round(boxes_N4).astype(int).tolist():
        # PIL's corners are inclusive.
        corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        draw.rectangle(corners, outline=_HALO, width=width + 2)
        draw.rectangle((corners[0] + 1, corners[1] + 1, *_shrunk(corners)), outline=colour, width=width)
    return np.asarray(picture)


def at_picture_size(image_HW3: np.ndarray) -> np.ndarray:
    """The image enlarged or reduced, in proportion, to the size that pictures show it at; uint8 RGB.

    Of an image of that size already it is a copy.
    """
    height, width = image_HW3.shape[:2]
    scale = min(max(1.0, 240 / min(height, width)), 480 / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image_HW3, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)


def localization_picture(
    image_HW3: np.ndarray,
    map_hw: np.ndarray,
    predicted_N4: np.ndarray,
    truth_N4: np.ndarray,
    caption: Caption,
    colour_map: str = "inferno",
    limit: float | None = None,
    unit: str = "",
) -> np.ndarray:
    """The image with its true boxes (white), the heat map with these and the predicted (cyan), and a caption.

    Boxes are in the image's pixels. Small images are enlarged and large ones reduced, in proportion, so that
    outlines and text stay legible; uint8 RGB. With a `limit` (`heat_map`), or diverging colours, a bar says what the
    colours stand for, in the map's `unit`.
    """
    large_HW3 = at_picture_size(image_HW3)
    size = large_HW3.shape[1::-1]
    factor_4 = np.array([size[0] / image_HW3.shape[1], size[1] / image_HW3.shape[0]] * 2)
    left = draw_boxes(large_HW3, truth_N4 * factor_4, TRUTH_COLOUR)
    right = draw_boxes(heat_map(large_HW3, map_hw, colour_map, limit), truth_N4 * factor_4, TRUTH_COLOUR)
    right = draw_boxes(right, predicted_N4 * factor_4, PREDICTION_COLOUR)
    gap = np.full((size[1], 4, 3), PAPER, np.uint8)
    picture = np.concatenate([left, gap, right], axis=1)
    if limit is not None or colour_map == DIVERGING:
        end = largest_value(map_hw, colour_map) if limit is None else limit
        picture = np.concatenate([picture, colour_bar(picture.shape[1], end, unit, colour_map)])
    return captioned(picture, caption)


class Panel(NamedTuple):
    """One map of a photo that is shown under several."""

    map_hw: np.ndarray
    predicted_N4: np.ndarray
    caption: Caption
    limit: float | None = None
    unit: str = ""


class Place(NamedTuple):
    """Where a panel lies in its picture, without its caption: half-open, in the picture's pixels; and that caption."""

    left: int
    top: int
    right: int
    bottom: int
    name: str
    detail: str


def panels_picture(
    image_HW3: np.ndarray,
    truth_N4: np.ndarray,
    panels: Sequence[Panel],
    caption: Caption,
    colour_map: str = "inferno",
) -> tuple[np.ndarray, list[Place]]:
    """The image with its true boxes and under each of several maps, as panels in rows, and a caption below them all.

    uint8 RGB, and where each panel lies. Boxes, `limit` and `unit` are as in `localization_picture`; a panel is the
    image at half that picture's size, in rows of at most `PANELS_IN_A_ROW`, all of them of one length.
    """
    height, width = (max(1, round(length / 2)) for length in at_picture_size(image_HW3).shape[:2])
    small_HW3 = cv2.resize(image_HW3, (width, height), interpolation=cv2.INTER_AREA)
    factor_4 = np.array([width / image_HW3.shape[1], height / image_HW3.shape[0]] * 2)
    shown = [(draw_boxes(small_HW3, truth_N4 * factor_4, TRUTH_COLOUR), Caption("photo", ""))]
    for panel in panels:
        under = heat_map(small_HW3, panel.map_hw, colour_map, panel.limit)
        under = draw_boxes(under, truth_N4 * factor_4, TRUTH_COLOUR)
        under = draw_boxes(under, panel.predicted_N4 * factor_4, PREDICTION_COLOUR)
        if panel.limit is not None or colour_map == DIVERGING:
            end = largest_value(panel.map_hw, colour_map) if panel.limit is None else panel.limit
            under = np.concatenate([under, colour_bar(width, end, panel.unit, colour_map)])
        shown.append((under, panel.caption))
    num_rows = -(-len(shown) // PANELS_IN_A_ROW)
    num_columns = -(-len(shown) // num_rows)
    # A narrow photo leaves room for the name below it.
    step_x = max(width, _LEAST_PANEL_WIDTH) + 4
    strips = [_caption_strip(said, step_x - 4) for _, said in shown]
    step_y = max(len(pixels) for pixels, _ in shown) + len(strips[0])
    picture = np.full((num_rows * step_y, num_columns * step_x - 4, 3), PAPER, np.uint8)
    places = []
    for number, ((pixels, said), strip) in enumerate(zip(shown, strips, strict=True)):
        top, left = number // num_columns * step_y, number % num_columns * step_x
        bottom = top + len(pixels)
        picture[top:bottom, left : left + width] = pixels
        picture[bottom : bottom + len(strip), left : left + strip.shape[1]] = strip
        places.append(Place(left, top, left + width, bottom, *said))
    return captioned(picture, caption), places


def captioned(picture_HW3: np.ndarray, caption: Caption) -> np.ndarray:
    """A picture with its caption below."""
    return np.concatenate([picture_HW3, _caption_strip(caption, picture_HW3.shape[1])], axis=0)


def contact_sheet(pictures: Sequence[np.ndarray], width: int = 2400, margin: int = 12) -> np.ndarray:
    """Pictures of any sizes in rows, in their order; uint8 RGB.

    A row takes as many as fit into `width` pixels, and is as high as its highest; a picture that is wider
    widens the sheet. Raises ValueError for no picture.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    places, left, top, row_height = [], margin, margin, 0
    for picture in pictures:
        if left > margin and left + picture.shape[1] + margin > width:
            left, top, row_height = margin, top + row_height + margin, 0
        places.append((top, left))
        left += picture.shape[1] + margin
        row_height = max(row_height, picture.shape[0])
    used_width = max(left + picture.shape[1] for (_, left), picture in zip(places, pictures, strict=True)) + margin
    sheet = np.full((top + row_height + margin, used_width, 3), PAPER, np.uint8)
    for (top, left), picture in zip(places, pictures, strict=True):
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _caption_strip(caption: Caption, width: int) -> np.ndarray:
    strip = Image.new("RGB", (width, 46), PAPER)
    draw = ImageDraw.Draw(strip)
    for text, top, size, ink in ((caption.headline, 5, 15, INK), (caption.detail, 25, 13, MUTED)):
        font = ImageFont.load_default(size=size)
        draw.text((6, top), _fitting(text, font, width - 12), fill=ink, font=font)
    return np.asarray(strip)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _shrunk(corners: tuple[int, int, int, int]) -> tuple[int, int]:
    x0, y0, x1, y1 = corners
    return max(x0 + 1, x1 - 1), max(y0 + 1, y1 - 1)
