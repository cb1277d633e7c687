"""Synthetic scenes: textured objects of ten classes among clutter, drawn on the fly from (seed, index).

A scene is photograph-like where it matters for class activation maps. An object's class is the pattern all over
its body, whatever its outline and colours, so that the evidence for it is the whole object. Light, shadow, blur
and grain are a camera's; the clutter is lit and coloured in the same way, with irregular patterns. Frame
`original` throughout.

Points of the plane are complex numbers x + iy in pixels, y down; pixel centres are whole numbers.
"""

from __future__ import annotations

import cmath
import colorsys
import math
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from cam_lightning.dataset.scene.texture import (
    PATTERNS,
    PERIOD,
    SHEET,
    TILE,
    class_sheet,
    clutter_sheets,
    grain_sheet,
)

CLASS_NAMES: tuple[str, ...] = tuple(PATTERNS)
"""Each class is a pattern; what outline an object has says nothing about its class."""

_MARGIN = 2
"""Pixels kept free around the region of each object: none touches the border or another object's box."""
_PAIR_PROBABILITY = 0.05
_SUBPIXEL_BITS = 4


class Scene(NamedTuple):
    """One image and its whole truth, frame `original`."""

    image_HW3: np.ndarray
    """uint8 RGB, never square; its size varies with the index."""
    label: int
    boxes_N4: np.ndarray
    """float32 xyxy, half-open: the tight boxes of `masks_NHW`; N is 1, or 2 for two objects of the class."""
    masks_NHW: np.ndarray
    """bool: the pixels that each object covers by half or more; no object hides another."""


def scene_label(seed: int, index: int) -> int:
    """The class of a scene, without drawing it: ten successive scenes hold every class once."""
    return index % len(CLASS_NAMES)


def scene_size(seed: int, index: int) -> tuple[int, int]:
    """Height and width of a scene in pixels, without drawing it."""
    return _size(_generator(seed, index))


def draw_scene(seed: int, index: int) -> Scene:
    """Draws one scene: a pure function, equal bytes in any process and order.

    `seed` and `index` are in 0..2**64 - 1; each pair has a random stream of its own (Philox, keyed by both).
    """
    rng = _generator(seed, index)
    height, width = _size(rng)
    label = scene_label(seed, index)
    to_light = cmath.rect(1, -math.pi * rng.random())
    image = _background(rng, height, width, to_light)
    masks = []
    for region, area in _places(rng, height, width):
        alpha = np.zeros((height, width), np.uint8)
        contours = _contours(rng, region, area)
        cv2.fillPoly(alpha, [_fixed_point(contour) for contour in contours], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        _paste_object(rng, image, alpha, label, to_light)
        masks.append(alpha >= 128)
    boxes = [_tight_box(mask.view(np.uint8)) for mask in masks]
    return Scene(_photograph(rng, image), label, np.array(boxes, np.float32), np.stack(masks))


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))


def _size(rng: np.random.Generator) -> tuple[int, int]:
    side, log_ratio, upright = rng.random(3).tolist()
    side, ratio = 122 + 16 * side, 1.08 * 1.5**log_ratio
    long, short = round(side * ratio**0.5), round(side * ratio**-0.5)
    return (long, short) if upright < 0.5 else (short, long)


def _tight_box(alpha: np.ndarray) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(alpha)
    return x, y, x + width, y + height


# Outlines and places


def _corners(*points: tuple[float, float]) -> np.ndarray:
    return np.array([x + 1j * y for x, y in points])


@cache
def _outlines() -> dict[str, tuple[np.ndarray, ...]]:
    """Closed polygons by name, about 1 around the origin; a second polygon is a hole.

    Full bodies: a thin limb would stretch the box over ground where next to nothing of the pattern is.
    """
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = np.exp(1j * turn)
    teeth = np.arange(8)[:, None] * np.pi / 4 + [-0.27, -0.17, 0.17, 0.27]
    arm = _corners((1, -0.5), (1, 0.5), (0.5, 0.5))
    horn = np.linspace(0.6, 2 * np.pi - 0.6, 50)
    bite = np.linspace(2 * np.pi - 1.79, 1.79, 30)
    edge = np.linspace(0, np.pi, 30)
    blade = -np.cos(edge) + 0.7j * np.sin(edge) ** 1.2
    body = 0.75 * np.exp(1j * np.linspace(-2.7, 2.7, 40))
    lobes = -13 * np.cos(turn) + 5 * np.cos(2 * turn) + 2 * np.cos(3 * turn) + np.cos(4 * turn)
    return {
        "star": (np.tile([1, 0.68], 5) * np.exp(1j * np.pi * (np.arange(10) / 5 - 0.5)),),
        "ring": (circle, 0.35 * circle),
        "cross": (np.concatenate([arm * 1j**quarter for quarter in range(4)]),),
        "crescent": (np.concatenate([np.exp(1j * horn), 0.95 + 0.58 * np.exp(1j * bite)]),),
        "arrow": (_corners((-10, -6), (0, -6), (0, -10), (10, 0), (0, 10), (0, 6), (-10, 6)) / 10,),
        "gear": (np.tile([0.7, 1, 1, 0.7], 8) * np.exp(1j * teeth.ravel()), 0.25 * circle),
        "heart": ((16 * np.sin(turn) ** 3 + 1j * lobes) / 16,),
        "leaf": (np.concatenate([blade.conj(), blade[::-1]]),),
        "fish": (np.concatenate([0.25 + body.real + 0.75j * body.imag, _corners((-1, 0.6), (-0.8, 0), (-1, -0.6))]),),
        "clover": ((0.8 + 0.2 * np.cos(4 * turn)) * circle,),
    }


def _places(rng: np.random.Generator, height: int, width: int) -> list[tuple[tuple[float, ...], float]]:
    """For each object the region (x0, y0, x1, y1) to stay within, and the area of its box."""
    pair, cut, log_ratio, size = rng.random(4).tolist()
    low, right, bottom = _MARGIN, width - 1 - _MARGIN, height - 1 - _MARGIN
    smallest = 0.04 if pair >= _PAIR_PROBABILITY else 0.12
    # Even on a logarithmic scale, then leaning towards the large: a tenth of the image is small, not typical.
    area = height * width * smallest * (0.5 / smallest) ** (size**0.3)
    if pair >= _PAIR_PROBABILITY:
        return [((low, low, right, bottom), area)]
    ratio = 2 ** (log_ratio - 0.5)
    cut = (0.4 + 0.2 * cut) * max(width, height)
    if width > height:
        first, second = (low, low, cut - _MARGIN, bottom), (cut + _MARGIN, low, right, bottom)
    else:
        first, second = (low, low, right, cut - _MARGIN), (low, cut + _MARGIN, right, bottom)
    return [(first, area / 2 * ratio), (second, area / 2 / ratio)]


def _contours(rng: np.random.Generator, region: tuple[float, ...], area: float) -> list[np.ndarray]:
    """One of the outlines, stretched, mirrored, turned, with a box of `area` (less to fit), in `region`."""
    choice, log_stretch, mirror, turn, across, down = rng.random(6).tolist()
    outlines = tuple(_outlines().values())
    stretch = math.exp(0.4 * (log_stretch - 0.5))
    side = 1 if mirror < 0.5 else -1
    turned = [
        (side * stretch * outline.real + 1j / stretch * outline.imag) * cmath.rect(1, 0.9 * (turn - 0.5))
        for outline in outlines[int(choice * len(outlines))]
    ]
    x, y = turned[0].real, turned[0].imag
    left, top = float(x.min()), float(y.min())
    box_width, box_height = float(x.max()) - left, float(y.max()) - top
    x0, y0, x1, y1 = region
    scale = min((area / (box_width * box_height)) ** 0.5, (x1 - x0) / box_width, (y1 - y0) / box_height)
    x0 += across * (x1 - x0 - scale * box_width)
    y0 += down * (y1 - y0 - scale * box_height)
    return [scale * (contour - complex(left, top)) + complex(x0, y0) for contour in turned]


def _fixed_point(contour: np.ndarray) -> np.ndarray:
    """Complex points as int32 (P, 2) with `_SUBPIXEL_BITS` bits of fraction, as OpenCV draws them."""
    xy = contour[..., None].view(np.float64)
    return np.rint(xy * 2**_SUBPIXEL_BITS).astype(np.int32)


# Colour and surface

_MIXTURE = np.stack([np.linspace(1, 0, 256), np.linspace(0, 1, 256)], 1)
"""How much each grey takes of two colours."""


def _ramp(rng: np.random.Generator, contrast: float, saturation: float) -> np.ndarray:
    """A colour for each grey, uint8 RGB (256, 1, 3), from dark to light or from light to dark."""
    level, stretch, flip, hue, other_hue, vivid, other_vivid = rng.random(7).tolist()
    contrast *= 0.8 + 0.4 * stretch
    dark = 255 * (0.12 + (0.86 - contrast) * level)
    colours = [
        colorsys.hsv_to_rgb(hue, saturation * vivid**0.7, dark),
        colorsys.hsv_to_rgb(other_hue, saturation * other_vivid**0.7, dark + 255 * contrast),
    ]
    if flip < 0.5:
        colours.reverse()
    return (_MIXTURE @ np.array(colours)).astype(np.uint8)[:, None]


def _piece(rng: np.random.Generator, sheet: np.ndarray, height: int, width: int) -> np.ndarray:
    """A random window of a sheet, as a view."""
    down, across = rng.random(2).tolist()
    y, x = int(down * (SHEET - height)), int(across * (SHEET - width))
    return sheet[y : y + height, x : x + width]


def _clutter(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """An irregular surface, grey, enlarged at random."""
    kind, log_zoom = rng.random(2).tolist()
    sheets, zoom = clutter_sheets(), 0.7 * 3**log_zoom
    piece = _piece(rng, sheets[int(len(sheets) * kind)], int(height / zoom), int(width / zoom))
    return cv2.resize(piece, (width, height))


def _pattern(rng: np.random.Generator, name: str, height: int, width: int, period: float) -> np.ndarray:
    """The class's pattern, grey: `period` pixels per unit, turned a little, from a random place."""
    turn, across, down = rng.random(3).tolist()
    step = cmath.rect(PERIOD / period, 0.5 * (turn - 0.5))
    # The middle of the piece is in the middle tile of the sheet, so that its corners are still on the sheet.
    origin = TILE * complex(1 + across, 1 + down) - step * complex(width, height) / 2
    to_sheet = np.array([[step.real, -step.imag, origin.real], [step.imag, step.real, origin.imag]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(class_sheet(name), to_sheet, (width, height), flags=flags, borderMode=cv2.BORDER_WRAP)


# Light and camera


def _paste(image: np.ndarray, alpha: np.ndarray, paint: np.ndarray, to_light: complex, depth: int) -> None:
    """Lays `paint` where `alpha` is, in place, with a rounded rim and a soft shadow `depth` pixels wide."""
    side = 2 * depth + 1
    # An anchor off the centre moves the blurred outline away from the light.
    anchor = (depth + round(0.9 * depth * to_light.real), depth + round(0.9 * depth * to_light.imag))
    soft = cv2.blur(alpha, (side, side), borderType=cv2.BORDER_REPLICATE)
    shadow = cv2.blur(alpha, (side, side), anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    # Brighter where the outline falls off towards the light, darker where it falls off behind; 128 is plain.
    relief = cv2.addWeighted(soft, 0.5, shadow, -0.5, 128)
    own = cv2.cvtColor(cv2.multiply(alpha, relief, scale=1 / 255), cv2.COLOR_GRAY2RGB)
    ground = cv2.cvtColor(cv2.multiply(255 - alpha, 255 - shadow // 2, scale=1 / 255), cv2.COLOR_GRAY2RGB)
    cv2.add(cv2.multiply(paint, own, scale=1 / 128), cv2.multiply(image, ground, scale=1 / 255), dst=image)


def _paste_object(
    rng: np.random.Generator, image: np.ndarray, alpha: np.ndarray, label: int, to_light: complex
) -> None:
    x0, y0, x1, y1 = _tight_box(alpha)
    size = math.sqrt((x1 - x0) * (y1 - y0))
    depth = max(2, round(0.06 * size))
    around = np.s_[max(0, y0 - 2 * depth) : y1 + 2 * depth, max(0, x0 - 2 * depth) : x1 + 2 * depth]
    height, width = alpha[around].shape
    period = min(max(0.18 * size, 9.0), 15.0) * 1.25 ** (rng.random() - 0.5)
    pattern = _pattern(rng, CLASS_NAMES[label], height, width, period)
    worn = cv2.addWeighted(pattern, 0.9, _piece(rng, clutter_sheets()[0], height, width), 0.25, -20)
    paint = cv2.applyColorMap(worn, _ramp(rng, contrast=0.6, saturation=0.9))
    _paste(image[around], alpha[around], paint, to_light, depth)


def _shards(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Polygons inscribed in ellipses, int32 (shards, corners, 2): convex, as the outline of no class is."""
    count, corners = int(3 + 6 * rng.random()), int(4 + 7 * rng.random())
    across, down, size, slender, turn = rng.random((5, count, 1))
    angle = 2 * np.pi * np.sort(rng.random((count, corners)))
    ellipse = np.cos(angle) + 1j * (0.15 + 0.85 * slender) * np.sin(angle)
    radius = (0.06 + 0.3 * size) * max(height, width)
    return _fixed_point(ellipse * radius * np.exp(2j * np.pi * turn) + across * width + 1j * down * height)


def _background(rng: np.random.Generator, height: int, width: int, to_light: complex) -> np.ndarray:
    """A surface strewn with shards of another one, in two pairs of colours."""
    ground, stone = _clutter(rng, height, width), _clutter(rng, height, width)
    image, paint, other_paint = (
        cv2.applyColorMap(grey, _ramp(rng, contrast=0.24, saturation=0.6)) for grey in (ground, stone, stone)
    )
    alpha, other = np.zeros((2, height, width), np.uint8)
    for number, shard in enumerate(_shards(rng, height, width)):
        cv2.fillConvexPoly(other if number % 2 else alpha, shard, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.copyTo(other_paint, other, paint)
    _paste(image, cv2.max(alpha, other), paint, to_light, depth=3)
    return image


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """What a camera sees of it: uneven tinted light, a little blur, grain."""
    height, width = image.shape[:2]
    corners = (85 + 60 * rng.random((2, 2, 1)) + 12 * rng.random((1, 1, 3))).astype(np.uint8)
    light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    blur, grit = rng.random(2).tolist()
    seen = cv2.GaussianBlur(cv2.multiply(image, light, scale=1 / 115), (3, 3), 0.3 + 0.4 * blur)
    strength = 0.02 + 0.05 * grit
    return cv2.addWeighted(seen, 1, _piece(rng, grain_sheet(), height, width), strength, -128 * strength)
