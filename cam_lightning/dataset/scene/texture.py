"""Surfaces of the synthetic scenes: one regular pattern per class, irregular ones for everything else.

Every surface is a sheet: uint8 grey (SHEET, SHEET), three by three repeats of a tile without seams, so that a
scene can cut from it at any place, angle and scale. The sheets are made once per process, on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

TILE = 192
"""Side of a tile in pixels."""
SHEET = 3 * TILE
PERIOD = 12
"""Pixels of a sheet per unit of `x` and `y` below: the strips of a basket, for one, are this far apart."""

_UNITS = TILE // PERIOD
_SUPERSAMPLING = 2


def _cos(phase: np.ndarray) -> np.ndarray:
    """Cosine of a phase counted in turns."""
    return np.cos(2 * np.pi * phase)


def _edges(wave: np.ndarray, gain: float = 2.5) -> np.ndarray:
    """Grey in 0..1 with steep but smooth edges where `wave` changes sign."""
    return 0.5 + 0.5 * np.tanh(gain * wave)


def _basket(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squares of upright and of lying strips in turn."""
    upright = (np.floor(x / 2) + np.floor(y / 2)) % 2 == 0
    return _edges(np.where(upright, _cos(x), _cos(y)))


def _checks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _edges(_cos(x / 2) * _cos(y / 2), gain=6)


def _bricks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    shifted = x / 2 + np.floor(y) / 2
    along, across = shifted % 1, y % 1
    joint = np.minimum(2 * np.minimum(along, 1 - along), np.minimum(across, 1 - across))
    tone = 0.85 + 0.15 * _cos(3 * np.floor(shifted) / 8 + 5 * np.floor(y) / 16)
    return tone * (joint > 0.15)


def _wood(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    bend = 0.5 * _cos(y / 8 + 0.3 * _cos(x / 8)) + 0.25 * _cos(y / 4 + x / 16) + 0.35 * _cos(x / 4)
    return ((x + bend) % 1) ** 1.5


def _zigzag(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _edges(_cos(y + 2 * np.abs(x / 2 % 1 - 0.5)))


def _grooves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _edges(_cos((x + y) * 3 / 4) - 0.4)


def _dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _edges(_cos(x) + _cos(y) - 0.5, gain=3)


def _net(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    thread = np.minimum(np.abs(_cos((x + y) / 4)), np.abs(_cos((x - y) / 4)))
    return _edges(thread - 0.3, gain=8)


def _scales(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rows of discs, every other row half a disc aside, each row over the one below it."""
    grey = np.zeros_like(x)
    for above in (0, 1, 2):
        row = np.floor(y) - above
        aside = (x / 2 + row / 2) % 1 - 0.5
        reach = np.hypot(2 * aside, (y - row) / 1.6)
        grey = np.where(reach < 1, np.clip(1.8 * (1 - reach), 0, 1), grey)
    return grey


def _ripples(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _edges(_cos(np.hypot(x % 4 - 2, y % 4 - 2)))


PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "basket": _basket,
    "checks": _checks,
    "bricks": _bricks,
    "wood": _wood,
    "zigzag": _zigzag,
    "grooves": _grooves,
    "dots": _dots,
    "net": _net,
    "scales": _scales,
    "ripples": _ripples,
}
"""The pattern of each class, in the order of the labels: grey in 0..1 at `x` and `y`."""


@cache
def class_sheet(name: str) -> np.ndarray:
    """The pattern of the class `name`, uint8 grey (SHEET, SHEET). Raises KeyError for any other name."""
    ticks = (np.arange(TILE * _SUPERSAMPLING) + 0.5) * _UNITS / (TILE * _SUPERSAMPLING)
    fine = 255 * PATTERNS[name](*np.meshgrid(ticks, ticks))
    tile = cv2.resize(fine, (TILE, TILE), interpolation=cv2.INTER_AREA)
    return np.tile(tile.round().astype(np.uint8), (3, 3))


def _grey(field: np.ndarray) -> np.ndarray:
    """A field as uint8: its mean at 128, two standard deviations to the ends."""
    grey = 128 + 64 * (field - field.mean()) / field.std()
    return np.clip(grey.round(), 0, 255).astype(np.uint8)


def _fractal(seed: int, power: float, stretch: float = 1.0) -> np.ndarray:
    """Noise of many octaves, unit variance: smoother for a higher power, long along x by `stretch`."""
    cycles = np.fft.fftfreq(TILE, 1 / TILE)
    amplitude = (1 + np.hypot(stretch * cycles[None, :], cycles[:, None])) ** -power
    amplitude[0, 0] = 0
    white = np.random.default_rng(seed).standard_normal((TILE, TILE))
    field = np.fft.ifft2(np.fft.fft2(white) * amplitude).real
    return field / field.std()


def _flakes(seed: int, count: int) -> np.ndarray:
    """The cells nearest to random points, each of one value in 0..1."""
    ticks = np.arange(TILE)
    nearest, field = np.full((TILE, TILE), np.inf), np.zeros((TILE, TILE))
    for x, y, value in np.random.default_rng(seed).random((count, 3)):
        across, down = np.abs(ticks - TILE * x), np.abs(ticks - TILE * y)
        across, down = np.minimum(across, TILE - across), np.minimum(down, TILE - down)
        distance = np.hypot(across[None, :], down[:, None])
        field = np.where(distance < nearest, value, field)
        nearest = np.minimum(nearest, distance)
    return field


@cache
def clutter_sheets() -> tuple[np.ndarray, ...]:
    """Irregular surfaces of no class for backgrounds and distractors: uint8 grey (SHEET, SHEET) each."""
    fields = (
        _fractal(0, 2.4),
        _fractal(1, 1.8),
        _fractal(2, 1.3),
        _fractal(3, 1.7, stretch=6),
        _fractal(3, 1.7, stretch=6).T,
        np.abs(_fractal(4, 2.0)),
        np.tanh(3 * _fractal(5, 1.9)),
        3 * _flakes(6, 70) + _fractal(6, 1.0),
        6 * _flakes(7, 150) + _fractal(7, 1.3),
    )
    return tuple(np.tile(_grey(field), (3, 3)) for field in fields)


@cache
def grain_sheet() -> np.ndarray:
    """Grain of a sensor, uint8 RGB (SHEET, SHEET, 3) around 128, a little smooth as after demosaicing."""
    white = np.random.default_rng(8).standard_normal((SHEET, SHEET, 3))
    return _grey(cv2.GaussianBlur(white, (3, 3), 0.6))
