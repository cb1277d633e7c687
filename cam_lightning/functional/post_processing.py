"""The one rule from a raw map to what is thresholded: upsample → rectify or not → normalise; boxes, sweeps, score maps
and pictures all follow it. A pixel belongs to the region where it is strictly above the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import InitVar, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cam_lightning.functional.kernel.post_processing import mark_without_region, write_rows

UPSAMPLINGS = ("bilinear", "nearest", "bicubic")
"""As `torch.nn.functional.interpolate` has them, with `align_corners=False`; a map of the size stays as it is."""

LONGEST_SIDE = 16_384


class UpsampledMap(NamedTuple):
    """What a normalisation may ask of a map that is upsampled and rectified."""

    low: float
    high: float
    values: Callable[[], np.ndarray]
    """Makes all its values (H, W); `low` and `high`, the least and the greatest, cost less."""
    percentile: float = math.nan
    """The rule's own `percentile`, where the normalisation has one."""

    def at(self, share: float) -> float:
        """The value that this share of all pixels comes before, in rising order: an order statistic, no mean of two."""
        values_P = self.values().ravel()
        rank = min(int(len(values_P) * share), len(values_P) - 1)
        return float(np.partition(values_P, rank)[rank])


class Thresholdable(NamedTuple):
    """A map that is upsampled and rectified, and all that a threshold asks of it."""

    rows: np.ndarray
    """float32 (H, W + 2): the map lies in rows[:, 1:-1]; kernels need the columns beside it."""
    low: float
    high: float
    zero_and_one: tuple[float, float]

    @property
    def value_HW(self) -> np.ndarray:
        """The map alone."""
        return self.rows[:, 1:-1]


class Normalisation(NamedTuple):
    """Which values of an upsampled, rectified map become 0 and 1."""

    zero_and_one: Callable[[UpsampledMap], tuple[float, float]]
    needs_positive: bool = False
    """Whether a map that is nowhere positive names no region."""
    is_share: bool = True
    """Whether a threshold is a share of the map's own range, and not a value that a map may have."""
    percentile: float | None = None
    """The share of the pixels that it asks for unless the rule says otherwise; None: it asks for none."""
    most: float = 1.0
    """What a percentile must lie below."""


NORMALISATIONS = {
    "max": Normalisation(lambda upsampled: (0.0, upsampled.high), needs_positive=True),
    "minmax": Normalisation(lambda upsampled: (upsampled.low, upsampled.high)),
    "none": Normalisation(lambda upsampled: (0.0, 1.0), is_share=False),
    "pas": Normalisation(lambda upsampled: (upsampled.low, upsampled.at(upsampled.percentile)), percentile=0.9),
    "ivr": Normalisation(lambda upsampled: (upsampled.at(upsampled.percentile), upsampled.high), percentile=0.6),
    "percentile": Normalisation(
        lambda upsampled: (upsampled.at(upsampled.percentile), upsampled.at(1 - upsampled.percentile)),
        percentile=0.01,
        most=0.5,
    ),
}
"""By name. With Per(i) the value that the share i of the upsampled map's pixels comes before:

    max         v / max(v), below 0 cut           minmax      (v − min) / (max − min)
    pas         (v − min) / (Per(i) − min), above 1 cut: percentile as a standard for thresholding
    ivr         (v − Per(i)) / (max − Per(i)), below 0 cut: ineffective values removed
    percentile  (v − Per(i)) / (Per(1 − i) − Per(i)), cut at both ends: a minmax that no single cell decides

`pas`: Bae, Noh and Kim 2020 (ECCV), whose threshold is a share of Per(0.9); the code that goes with IVR's paper
subtracts the minimum before, as here, which is the same where the map reaches 0. `ivr`: Kim et al. 2021 (ICCV),
the percentile chosen for each dataset and network; 0.6 is what the extended benchmark code starts from
(dongjunhwang/small_object_wsol, inference.py). That code takes the order statistic at ⌊i · pixels⌋, as `at` does.
`percentile` has no source.
"""


@dataclass(frozen=True)
class PostProcessing:
    """The options of the rule. Raises ValueError for those that there are not; `where` begins its text.

    A raw map names no region where a value is not finite (or beyond 1e38, since sums of weighted values could
    overflow), where it is constant once it is rectified, or where it is nowhere positive and `normalise` needs that.
    The raw map decides: a constant one, upsampled, differs in its last bits, and an image smaller than the map can
    lack the cells that are not finite. What is upsampled names none either where it is constant, or where no value
    lies between those that become 0 and 1.
    """

    upsample: str = "bilinear"
    rectify: bool = False
    normalise: str = "max"
    where: InitVar[str] = ""
    percentile: float | None = None
    """A share of the pixels, for the normalisations that ask for one; None: as they are published."""

    def __post_init__(self, where: str) -> None:
        check_option(f"{where}upsample", self.upsample, UPSAMPLINGS)
        check_option(f"{where}normalise", self.normalise, NORMALISATIONS)
        normalisation = NORMALISATIONS[self.normalise]
        if self.percentile is None:
            # So that whoever asks for the rule, a results file too, sees the number.
            object.__setattr__(self, "percentile", normalisation.percentile)
        elif normalisation.percentile is None:
            asking = ", ".join(name for name, each in NORMALISATIONS.items() if each.percentile is not None)
            raise ValueError(f"{where}percentile says something to {asking} alone; {where}normalise={self.normalise}")
        elif not 0 <= self.percentile < normalisation.most:
            raise ValueError(
                f"{where}percentile is a share of the pixels, for {self.normalise} in [0, {normalisation.most:g}); "
                f"got {self.percentile}"
            )

    def check_threshold(self, threshold: float, where: str = "") -> None:
        """Raises ValueError for a threshold that no normalised value can be compared with."""
        if self.is_share and not 0 <= threshold < 1:
            raise ValueError(f"{where}threshold is a share of the normalised map, in [0, 1); got {threshold}")

    def check_scores(self, where: str = "") -> None:
        """Raises ValueError where normalised maps need not lie in [0, 1]."""
        scores = [name for name, normalisation in NORMALISATIONS.items() if normalisation.is_share]
        check_option(f"{where}normalise", self.normalise, scores)

    @property
    def is_share(self) -> bool:
        """Whether normalised values are shares of the map's own range, in [0, 1]; else they are raw."""
        return NORMALISATIONS[self.normalise].is_share

    @property
    def floor(self) -> np.float32:
        """What lower values are raised to."""
        return np.float32(0 if self.rectify else -np.inf)

    def without_region(self, map_Mhw: np.ndarray) -> np.ndarray:
        """Which raw maps, float32, name no region: bool (M,)."""
        without_M = np.empty(len(map_Mhw), np.bool_)
        mark_without_region(map_Mhw, self.floor, NORMALISATIONS[self.normalise].needs_positive, without_M)
        return without_M

    def upsampled(self, map_hw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A raw map, float32, at height and width `size`; not rectified."""
        map_11hw = torch.from_numpy(map_hw)[None, None]
        return torch.nn.functional.interpolate(map_11hw, size, mode=self.upsample)[0, 0].numpy()

    def thresholdable(self, map_hw: np.ndarray, size: tuple[int, int]) -> Thresholdable | None:
        """A raw map (h, w) at height and width `size`, to the bit as boxes are made of it; None: it names no region."""
        map_hw = np.ascontiguousarray(map_hw, np.float32)
        if self.without_region(map_hw[None])[0]:
            return None
        if self.upsample != "bilinear":
            map_hw = self.upsampled(map_hw, size)
        rows = np.empty((size[0], size[1] + 2), np.float32)
        low, high = map(float, write_rows(map_hw, self.floor, rows))
        zero_and_one = self.zero_and_one(UpsampledMap(low, high, lambda: rows[:, 1:-1]))
        return None if zero_and_one is None else Thresholdable(rows, low, high, zero_and_one)

    def zero_and_one(self, upsampled: UpsampledMap) -> tuple[float, float] | None:
        """The values that become 0 and 1; None where the map names no region."""
        if not upsampled.low < upsampled.high:
            return None
        if self.percentile is not None:
            upsampled = upsampled._replace(percentile=self.percentile)
        zero, one = NORMALISATIONS[self.normalise].zero_and_one(upsampled)
        return (zero, one) if zero < one else None


def cut_levels(thresholds_Q: npt.ArrayLike, zero_and_one: tuple[float, float]) -> np.ndarray:
    """The values (Q,) that pixels must be above at thresholds (Q,), given those that become 0 and 1.

    zero + threshold · (one - zero), computed in float64 and rounded to the map's float32.
    """
    zero, one = zero_and_one
    return (zero + np.asarray(thresholds_Q, np.float64) * (one - zero)).astype(np.float32)


def normalised(value_HW: np.ndarray, zero_and_one: tuple[float, float], high: float) -> np.ndarray:
    """Upsampled, rectified values, of which `high` is the greatest, as scores in [0, 1].

    In place: what costs here is memory, not arithmetic.
    """
    zero, one = zero_and_one
    value_HW -= zero
    value_HW /= one - zero
    np.maximum(value_HW, 0, out=value_HW)
    return np.minimum(value_HW, 1, out=value_HW) if one < high else value_HW


def score_map(map_hw: Tensor, size: tuple[int, int], rule: PostProcessing) -> np.ndarray:
    """Scores (H, W), float64 in [0, 1], of a raw map (h, w) on the CPU at height and width `size`.

    Of a map that names no region all scores are 0, as in the WSOL benchmark (clovaai/wsolevaluation, inference.py).
    Raises ValueError for a rule whose values need not lie in [0, 1].
    """
    rule.check_scores()
    raw_hw = np.ascontiguousarray(map_hw.detach().float().numpy())
    if rule.without_region(raw_hw[None])[0]:
        return np.zeros(size)
    value_HW = rule.upsampled(raw_hw, size).astype(np.float64)
    if rule.rectify:
        np.maximum(value_HW, rule.floor, out=value_HW)
    upsampled = UpsampledMap(float(value_HW.min()), float(value_HW.max()), lambda: value_HW)
    zero_and_one = rule.zero_and_one(upsampled)
    return np.zeros(size) if zero_and_one is None else normalised(value_HW, zero_and_one, upsampled.high)


def check_option(name: str, value: str, choices: Collection[str]) -> None:
    """Raises ValueError for what is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}; got {value!r}")


def map_height_and_width(name: str, value: Any) -> tuple[int, int]:
    """The size that maps are upsampled to, as configurations have it: height and width, or the side of a square.

    Raises ValueError for anything else, and beyond `LONGEST_SIDE`, where one map would fill the memory.
    """
    sides = [value, value] if isinstance(value, int) else value
    is_pair = isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == 2
    are_whole = is_pair and all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if not are_whole or not all(1 <= side <= LONGEST_SIDE for side in sides):
        raise ValueError(f"{name} is [height, width], whole numbers from 1 to {LONGEST_SIDE}; got {value!s:.80}")
    return int(sides[0]), int(sides[1])
