"""From a map's values to colours over a photo, on a scale that several pictures can share, and the bar that says it."""

from __future__ import annotations

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
"""`jet` is the paper's; the first three grow evenly brighter or more saturated with the value. Negative values count as
0 in all of them."""
DIVERGING = "diverging"
"""Red where there is evidence for the class, blue where there is evidence against it, nothing where there is none."""
CHOICES = (*COLOUR_MAPS, DIVERGING)
INK, PAPER, MUTED = (238, 238, 238), (24, 24, 27), (161, 161, 170)
BAR_HEIGHT = 38
_SHOWN = PostProcessing(rectify=True, normalise="max")
_MIDDLE = np.array([235, 235, 235], np.float32)
_FOR = np.array([[252, 174, 145], [239, 59, 44], [153, 0, 13]], np.float32)
_AGAINST = np.array([[158, 202, 225], [49, 130, 214], [8, 48, 140]], np.float32)


def largest_value(map_hw: np.ndarray, colour_map: str) -> float:
    """What a map's own scale ends at: its greatest value, or of diverging colours its greatest absolute value.

    0 where the map is not finite, constant, or shows nothing in these colours: then it names no region.
    """
    map_hw = np.asarray(map_hw, np.float32)
    # The rule that boxes have: constants and what is not finite name no region.
    rule = PostProcessing(rectify=colour_map != DIVERGING, normalise="none")
    if rule.without_region(np.ascontiguousarray(map_hw)[None])[0]:
        return 0.0
    return float(np.abs(map_hw).max() if colour_map == DIVERGING else max(0.0, map_hw.max()))


def shown_values(map_hw: np.ndarray, size: tuple[int, int], colour_map: str, limit: float | None) -> np.ndarray:
    """The upsampled map (H, W), float32, as a share of `limit`, in 0..1, or in −1..1 of diverging colours.

    None: the limit is its own, see `largest_value`. All 0 where there is nothing to show.
    """
    map_hw = np.ascontiguousarray(map_hw, np.float32)
    if limit is None and colour_map != DIVERGING:
        return score_map(torch.from_numpy(map_hw), size, _SHOWN).astype(np.float32)
    own = largest_value(map_hw, colour_map)
    end = own if limit is None else limit
    if own == 0 or end <= 0:
        return np.zeros(size, np.float32)
    share_HW = PostProcessing().upsampled(map_hw, size) / np.float32(end)
    return np.clip(share_HW, -1 if colour_map == DIVERGING else 0, 1)


def coloured(image_HW3: np.ndarray, value_HW: np.ndarray, colour_map: str) -> np.ndarray:
    """Values of `shown_values` over an image, uint8 RGB (H, W, 3).

    Opacity grows with the value, so that where the map is low the image shows; `jet` is laid on evenly, as in the
    paper's figures. Values that are 0 everywhere leave the image as it is. Raises ValueError for unknown colours.
    """
    check_option("colour_map", colour_map, CHOICES)
    if not value_HW.any():
        return image_HW3.copy()
    opacity_HW1 = np.full_like(value_HW, 0.5) if colour_map == "jet" else 0.75 * np.sqrt(np.abs(value_HW))
    opacity_HW1 = opacity_HW1[..., None]
    return np.round(image_HW3 * (1 - opacity_HW1) + _colours(value_HW, colour_map) * opacity_HW1).astype(np.uint8)


def _colours(value_HW: np.ndarray, colour_map: str) -> np.ndarray:
    if colour_map != DIVERGING:
        level_HW = np.round(value_HW * 255).astype(np.uint8)
        return cv2.applyColorMap(level_HW, COLOUR_MAPS[colour_map])[..., ::-1]
    strength_HW = np.abs(value_HW)
    at = [0, 1 / 3, 2 / 3, 1]
    sides = [
        np.stack([np.interp(strength_HW, at, [_MIDDLE[c], *side_33[:, c]]) for c in range(3)], axis=-1)
        for side_33 in (_FOR, _AGAINST)
    ]
    return np.where(value_HW[..., None] > 0, *sides)


def colour_bar(width: int, limit: float, unit: str, colour_map: str) -> np.ndarray:
    """A strip (BAR_HEIGHT, width, 3), uint8 RGB: the colours over grey from 0, or −limit, to `limit`, with its unit."""
    bar = np.full((BAR_HEIGHT, width, 3), PAPER, np.uint8)
    left, right, top, bottom = 8, max(9, width - 8), 6, 16
    low = -1.0 if colour_map == DIVERGING else 0.0
    value_HW = np.tile(np.linspace(low, 1, right - left, dtype=np.float32), (bottom - top, 1))
    grey_HW3 = np.full((*value_HW.shape, 3), 128, np.uint8)
    bar[top:bottom, left:right] = coloured(grey_HW3, value_HW, colour_map)
    picture = Image.fromarray(bar)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=12)
    ends = (f"{low * limit:.3g}" if low else "0", f"{limit:.3g}")
    draw.text((left, 19), ends[0], fill=INK, font=font)
    draw.text((right - font.getlength(ends[1]), 19), ends[1], fill=INK, font=font)
    label = f"0 · {unit}" if low and unit else "0" if low else unit
    free = right - left - 2 * max(map(font.getlength, ends)) - 16
    if font.getlength(label) > free:
        label = "0" if low else ""
    draw.text(((left + right - font.getlength(label)) / 2, 19), label, fill=MUTED, font=font)
    return np.asarray(picture)
