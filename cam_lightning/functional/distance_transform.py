"""The authors' released box generator: rectangles of a heatmap at a few grey levels, thinned by a distance transform.

Per level: binarise above the level → distance to the nearest pixel below, scaled so that its maximum is 255 →
binarise above 10 → the rectangle of every contour. All levels' rectangles then lose those that overlap a bigger one.
Source: `bboxgenerator/dt_box.cpp` and `dt.c` of the authors' release.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from cam_lightning.functional.imresize import imresize
from cam_lightning.functional.post_processing import PostProcessing, check_option, normalised

RELEASED_LEVELS = (20, 100, 110)
RECTIFICATIONS = {
    "absolute": PostProcessing(normalise="minmax"),
    "zero": PostProcessing(rectify=True, normalise="max"),
}
"""How a map is made positive, and the rule that says which raw maps name no region: absolute values of a map that is
nowhere positive do."""
_MARGIN = 5
"""Pixels at the right and bottom edges that no rectangle reaches."""


def loose_and_tight_boxes(
    map_Mhw: np.ndarray,
    size_M2: np.ndarray,
    levels: Sequence[int] = RELEASED_LEVELS,
    rectify: str = "absolute",
) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes per map, (M, 2, 4), and which maps name no region (M,), bool.

    Each map is upsampled to its image's height and width `size_M2`, becomes a heatmap (`heatmap`), and gives the
    first two of `rectangles`: loose and tight, float32 xyxy, half-open, in those pixels. Where there is only one
    rectangle, it is both. A map that has no heatmap, or whose heatmap has no rectangle, names no region: both its
    boxes are the whole image. Zhou et al. 2016, section 3.2.
    """
    boxes_M24 = np.empty((len(map_Mhw), 2, 4), np.float32)
    degenerate_M = np.empty(len(map_Mhw), np.bool_)
    for m, (map_hw, (height, width)) in enumerate(zip(map_Mhw, size_M2.tolist(), strict=True)):
        grey_HW = heatmap(map_hw, (height, width), rectify)
        found_N4 = np.zeros((0, 4)) if grey_HW is None else rectangles(grey_HW, levels)
        degenerate_M[m] = len(found_N4) == 0
        boxes_M24[m] = (0, 0, width, height) if degenerate_M[m] else found_N4[[0, min(1, len(found_N4) - 1)]]
    return boxes_M24, degenerate_M


def heatmap(map_hw: np.ndarray, size: tuple[int, int], rectify: str = "absolute") -> np.ndarray | None:
    """The map as the 8-bit image (H, W) that the box generator reads, or None if it names no region.

    Bicubic upsampling (`imresize`) to height and width `size`, then `rectify`: `absolute` values, as the released
    merging of crops takes them, or negative values set to `zero`; then divided by the maximum, times 255, rounded.
    It names no region where the raw map does not, see `RECTIFICATIONS`. Raises ValueError for any other `rectify`.
    """
    check_option("rectify", rectify, RECTIFICATIONS)
    if RECTIFICATIONS[rectify].without_region(map_hw[None].astype(np.float32))[0]:
        return None
    value_HW = imresize(torch.from_numpy(np.ascontiguousarray(map_hw)), size).numpy()
    if rectify == "absolute":
        np.abs(value_HW, out=value_HW)
    else:
        np.maximum(value_HW, 0, out=value_HW)
    high = float(value_HW.max())
    if not high > 0:
        return None
    value_HW = normalised(value_HW, (0.0, high), high)
    value_HW *= 255
    value_HW += 0.5
    return value_HW.astype(np.uint8)


def rectangles(grey_HW: np.ndarray, levels: Sequence[int] = RELEASED_LEVELS) -> np.ndarray:
    """All rectangles (N, 4) of a uint8 heatmap, the biggest first: int64 xyxy, half-open, in its pixels.

    A contour is the outer border of an 8-connected region or the border of a hole in one. Rectangles end 5 pixels
    before the right and bottom edges; one that lies wholly beyond is dropped (the released code keeps it, with a
    negative side). One that overlaps a bigger one by more than half of the bigger's area is dropped, except that the
    released loop does not look at the rectangle after one that it has dropped: kept here, since it is what leaves
    a tight box of the same object behind the loose one. Raises ValueError where the heatmap is not uint8 (H, W).
    """
    if grey_HW.ndim != 2 or grey_HW.dtype != np.uint8:
        raise ValueError(f"a heatmap is uint8 (H, W); got {grey_HW.dtype} of shape {grey_HW.shape}")
    end = np.array(grey_HW.shape[::-1]) - _MARGIN
    found = [box for level in levels for box in _core_boxes((grey_HW > level).view(np.uint8))]
    boxes_N4 = np.array(found, np.int64).reshape(-1, 4)
    boxes_N4[:, 2:] = np.minimum(boxes_N4[:, 2:], end)
    boxes_N4 = boxes_N4[(boxes_N4[:, :2] < boxes_N4[:, 2:]).all(axis=1)]
    return _without_overlaps(boxes_N4[np.argsort(-_area(boxes_N4), kind="stable")])


def _core_boxes(region_HW: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Rectangles of the contours of what is left of a region (uint8, 0 or 1) without its rim."""
    x0, y0, width, height = cv2.boundingRect(region_HW)
    if width == 0 or region_HW.all():
        # No border to be near to: the released code leaves the image as it is.
        return _contour_boxes(region_HW, 0, 0)
    # The nearest pixel outside is never farther than one beyond the region's box, if the image goes on there.
    left, top = max(x0 - 1, 0), max(y0 - 1, 0)
    part_hw = region_HW[top : y0 + height + 1, left : x0 + width + 1]
    distance_hw = cv2.distanceTransform(part_hw, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Scaled so that the greatest is 255, and rounded to 8 bits, it must be above 10.
    scale = 255 / float(distance_hw.max())
    core_hw = distance_hw.astype(np.float64) * scale + 0.5 >= 11
    return _contour_boxes(core_hw.view(np.uint8), left, top)


def _contour_boxes(mask_hw: np.ndarray, left: int, top: int) -> list[tuple[int, int, int, int]]:
    contours, _ = cv2.findContours(mask_hw, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
    boxes = (cv2.boundingRect(contour) for contour in contours)
    return [(x, y, x + width, y + height) for x, y, width, height in boxes]


def _without_overlaps(boxes_N4: np.ndarray) -> np.ndarray:
    """The released loop, which steps over the element that moves into an erased one's place."""
    kept = boxes_N4.tolist()  # plain numbers: thousands of pairs, of which none is worth an array
    i = 0
    while i < len(kept):
        j = i + 1
        while j < len(kept):
            if _overlaps_much(kept[i], kept[j]):
                del kept[j]
            j += 1
        i += 1
    return np.array(kept, np.int64).reshape(-1, 4)


def _overlaps_much(bigger: Sequence[int], smaller: Sequence[int]) -> bool:
    width = min(bigger[2], smaller[2]) - max(bigger[0], smaller[0])
    height = min(bigger[3], smaller[3]) - max(bigger[1], smaller[1])
    # The released code compares integers: half of the area is rounded down.
    half = (bigger[2] - bigger[0]) * (bigger[3] - bigger[1]) // 2
    return width > 0 and height > 0 and width * height > half


def _area(boxes_N4: np.ndarray) -> np.ndarray:
    return (boxes_N4[:, 2] - boxes_N4[:, 0]) * (boxes_N4[:, 3] - boxes_N4[:, 1])
