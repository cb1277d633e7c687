"""Pictures of a localization: the heat map over the image, boxes burnt in, and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from cam_lightning.functional.post_processing import PostProcessing, check_option, score_map

COLOUR_MAPS = {
    "inferno": cv2.COLORMAP_INFERNO,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "turbo": cv2.COLORMAP_TURBO,
    "jet": cv2.COLORMAP_JET,
}
"""`jet` is the paper's; the first three grow evenly brighter or more saturated with the value."""

TRUTH_COLOUR = (255, 255, 255)
PREDICTION_COLOUR = (0, 229, 255)
PNG_LEVEL = 2
"""For the files: a quarter of the time that Pillow's own level takes, a tenth more bytes."""
_SHOWN = PostProcessing(rectify=True, normalise="max")
_INK, _PAPER, _MUTED = (238, 238, 238), (24, 24, 27), (161, 161, 170)
_HALO = (0, 0, 0)


class Caption(NamedTuple):
    """What stands below a picture: the first line in full ink, the second muted."""

    headline: str
    detail: str


def heat_map(image_HW3: np.ndarray, map_hw: np.ndarray, colour_map: str = "inferno") -> np.ndarray:
    """The map over the image: uint8 RGB (H, W, 3).

    The map is upsampled bilinearly, negative values count as 0, and the maximum is the brightest colour.
    Opacity grows with the value, so that where the map is low the image shows; `jet` is laid on evenly, as
    in the paper's figures. A map that names no region leaves the image as it is.
    """
    check_option("colour_map", colour_map, COLOUR_MAPS)
    height, width = image_HW3.shape[:2]
    value_HW = score_map(torch.from_numpy(map_hw.astype(np.float32)), (height, width), _SHOWN).astype(np.float32)
    if not value_HW.any():
        return image_HW3.copy()
    colour_HW3 = cv2.applyColorMap(np.round(value_HW * 255).astype(np.uint8), COLOUR_MAPS[colour_map])[..., ::-1]
    opacity_HW1 = np.full_like(value_HW, 0.5) if colour_map == "jet" else 0.75 * np.sqrt(value_HW)
    opacity_HW1 = opacity_HW1[..., None]
    return np.round(image_HW3 * (1 - opacity_HW1) + colour_HW3 * opacity_HW1).astype(np.uint8)


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
) -> np.ndarray:
    """The image with its true boxes (white), the heat map with these and the predicted (cyan), and a caption.

    Boxes are in the image's pixels. Small images are enlarged and large ones reduced, in proportion, so that
    outlines and text stay legible; uint8 RGB.
    """
    large_HW3 = at_picture_size(image_HW3)
    size = large_HW3.shape[1::-1]
    factor_4 = np.array([size[0] / image_HW3.shape[1], size[1] / image_HW3.shape[0]] * 2)
    left = draw_boxes(large_HW3, truth_N4 * factor_4, TRUTH_COLOUR)
    right = draw_boxes(heat_map(large_HW3, map_hw, colour_map), truth_N4 * factor_4, TRUTH_COLOUR)
    right = draw_boxes(right, predicted_N4 * factor_4, PREDICTION_COLOUR)
    gap = np.full((size[1], 4, 3), _PAPER, np.uint8)
    return captioned(np.concatenate([left, gap, right], axis=1), caption)


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
    sheet = np.full((top + row_height + margin, used_width, 3), _PAPER, np.uint8)
    for (top, left), picture in zip(places, pictures, strict=True):
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _caption_strip(caption: Caption, width: int) -> np.ndarray:
    strip = Image.new("RGB", (width, 46), _PAPER)
    draw = ImageDraw.Draw(strip)
    for text, top, size, ink in ((caption.headline, 5, 15, _INK), (caption.detail, 25, 13, _MUTED)):
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
